"""The laws that every policy obeys, whatever its encoder and head."""

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import load_policy, save_policy, tensors_of
from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import ActionKind, HeadConfig
from steadyhand.policies.noise import GeneratorNoise, NoNoise, RowNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec, read_features
from steadyhand.testing.toy import (
    CONTINUOUS_ACTION,
    DISCRETE_ACTION,
    IMAGE_OBSERVATION,
    OBJECT_OBSERVATION,
    VECTOR_OBSERVATION,
    toy_frames,
)
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

_TOLERANCE = 1e-5
"""Rows of a batch differ from the same rows alone by float32 rounding in the matrix product."""
_WINDOWS = 8
_DRAWS = 8


class LawLeftOut(UserWarning):
    """A law was not checked, since the part says that it need not hold to it."""


def check_head(head: HeadConfig, *, num_steps: int | None = None) -> Mapping[str, str]:
    """Check a head on a small state encoder, with every kind of action that it has.

    Args:
        head: Small settings of the head; see `HeadConfig.toys`.
        num_steps: Gradient steps in which it is to learn 8 windows by heart; its own `memorises_in` if None.

    Returns:
        Law -> why it was left out, as the head itself says; each is also a warning.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    encoder, steps = StateMLP(hidden=(64, 64)), num_steps or head.memorises_in
    left_out: dict[str, str] = {}
    for kind in head.actions:
        config = PolicyConfig(encoder=encoder, head=head, n_obs_steps=2, horizon=4, n_action_steps=2)
        left_out |= check_policy(config, actions=kind)
        config = PolicyConfig(encoder=encoder, head=head, horizon=4)
        left_out |= check_memorises(config, num_steps=steps, actions=kind)
    return left_out


def check_encoder(encoder: EncoderConfig, *, num_steps: int | None = None) -> Mapping[str, str]:
    """Check an encoder under the regression head, with a history; see `check_head`."""
    config = PolicyConfig(encoder=encoder, n_obs_steps=2, horizon=2)
    left_out = check_policy(config)
    return {**left_out, **check_memorises(config, num_steps=num_steps or encoder.memorises_in)}


def check_policy(config: PolicyConfig, *, actions: ActionKind | None = None) -> Mapping[str, str]:
    """Check every law but memorising, and that the policy is read back from disk as it was.

    Args:
        config: What the policy is made of.
        actions: Numbers or classes; the first that the head has if None.

    Returns:
        Law -> why it was left out; see `check_head`.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    exempt = _exemptions(config)
    frames = _frames(config, actions)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=1)
    if "missing statistics raise" not in exempt:
        _missing_statistics_raise(policy, frames)
    batch = _made_ready(policy, frames)
    for law, check in LAWS.items():
        if law not in exempt:
            check(policy, batch)
    return _told({law: why for law, why in exempt.items() if law != "memorises"})


def check_memorises(
    config: PolicyConfig, *, num_steps: int, actions: ActionKind | None = None
) -> Mapping[str, str]:
    """Check that 8 windows are learnt to 5 % of the action's standard deviation, discrete ones exactly.

    The answer is a sample where the policy class drives with samples. Returns what was left out.
    """
    if why := _exemptions(config).get("memorises"):
        return _told({"memorises": why})
    frames = _frames(config, actions)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    steps = np.arange(_WINDOWS)
    policy.fit_statistics(frames, steps)
    # A head that learns from noisy chunks sees each window under several draws at once: fewer steps do.
    repeats = _DRAWS if policy.head.draws else 1
    source = WindowSource(frames, policy.window, steps=np.tile(steps, repeats))
    rows = repeats * _WINDOWS
    fit(
        policy,
        source,
        config=TrainConfig(num_steps=num_steps, batch_size=rows, learning_rate=3e-3, warmup_steps=10),
    )
    batch = source.batch(steps)
    noise = GeneratorNoise.seeded(1) if policy.head.draws else None
    learnt = policy.predict_chunk(batch.observation, batch.obs_is_pad, noise=noise)
    wanted = batch.actions[:, -config.chunk_start :]
    valid = ~batch.action_is_pad[:, -config.chunk_start :]
    if frames.action_spec.num_classes is not None:
        assert torch.equal(learnt[valid], wanted[valid]), "memorises 8 windows: a class is wrong"
        return {}
    error = (learnt - wanted)[valid].square().mean(0).sqrt() / wanted[valid].std(0)
    assert bool((error < 0.05).all()), f"memorises 8 windows: error / std = {error.tolist()}"
    return {}


def _exemptions(config: PolicyConfig) -> Mapping[str, str]:
    """Return the laws that the parts of a policy say they need not hold to."""
    assert config.encoder is not None, "a battery is given its encoder"
    exempt = {**config.encoder.exempt, **config.head.exempt}
    known = ("missing statistics raise", "memorises", *(law for law in LAWS if law != "survives saving"))
    for law, why in exempt.items():
        assert law in known, f"nothing can be exempt from {law!r}, but from {', '.join(known)}"
        assert why, f"an exemption from {law!r} needs a reason"
    return exempt


def _told(left_out: Mapping[str, str]) -> Mapping[str, str]:
    for law, why in left_out.items():
        warnings.warn(f"not checked: {law} ({why})", LawLeftOut, stacklevel=4)
    return left_out


def _frames(config: PolicyConfig, actions: ActionKind | None) -> Frames:
    observation: dict[str, FeatureSpec] = {**VECTOR_OBSERVATION, **IMAGE_OBSERVATION}
    if config.encoder is not None and not config.encoder.readable(observation):
        observation |= OBJECT_OBSERVATION
    readable = read_features(config, observation)
    kind = actions or config.head.actions[0]
    action = {"continuous": CONTINUOUS_ACTION, "discrete": DISCRETE_ACTION}[kind]
    return toy_frames({name: observation[name] for name in readable}, action)


def _made_ready(policy: PolicyModule, frames: Frames) -> Batch:
    """Give a policy its statistics, and return a batch whose first and last windows are padded."""
    policy.fit_statistics(frames)
    source = WindowSource(frames, policy.window)
    if policy.head.closed_form:
        fit(policy, source, config=TrainConfig())
    batch = source.batch(np.array([0, 3, 6, 7, 12, 20]))
    weight = batch.weight * torch.linspace(0.5, 2.0, len(batch))[:, None]
    return replace(batch, weight=weight)


def _missing_statistics_raise(policy: PolicyModule, frames: Frames) -> None:
    if not policy.normaliser:
        return
    batch = WindowSource(frames, policy.window).batch(np.arange(2))
    try:
        policy.predict_chunk(batch.observation, batch.obs_is_pad)
    except CapabilityError:
        return
    raise AssertionError("missing statistics raise: a policy without statistics predicted")


def _shapes(policy: PolicyModule, batch: Batch) -> None:
    noise, config = GeneratorNoise.seeded(0), policy.config
    context = policy.encode(batch.observation, batch.obs_is_pad, None)
    expected = (len(batch), policy.encoder.spec.num_tokens, policy.encoder.spec.width)
    assert context.tokens.shape == expected, f"shapes: tokens {tuple(context.tokens.shape)}, not {expected}"
    rows = policy.loss_rows(batch, noise)
    for value in (rows.numerator, rows.denominator, *rows.metrics.values()):
        assert value.shape == (len(batch),), f"shapes: a loss of shape {tuple(value.shape)}"
        assert bool(torch.isfinite(value).all()), "shapes: the loss is not finite"
    action = policy.spec.action
    expected = (len(batch), config.num_future_steps, action.size)
    for chosen in (None, noise):
        chunk = policy.predict_chunk(batch.observation, batch.obs_is_pad, noise=chosen)
        assert chunk.shape == expected, f"shapes: a chunk of {tuple(chunk.shape)}, not {expected}"
        assert str(chunk.dtype) == f"torch.{action.dtype}", f"shapes: a chunk of {chunk.dtype}"
    if policy.head.likelihood != "none":
        _log_prob_is_one_number_a_row(policy, batch)


def _log_prob_is_one_number_a_row(policy: PolicyModule, batch: Batch) -> None:
    """Check the shape; a head may refuse padded windows, but not whole ones."""
    whole = batch.rows((~batch.action_is_pad.any(1)).nonzero()[:, 0])
    assert len(whole) > 0, "the check itself found no window without padding"
    value = policy.log_prob(whole)
    assert value.shape == (len(whole),), "shapes: log_prob"
    assert bool(torch.isfinite(value).all()), "shapes: log_prob is not finite"
    try:
        value = policy.log_prob(batch)
    except CapabilityError:
        return
    assert value.shape == (len(batch),), "shapes: log_prob of padded windows"


def _every_parameter_gets_a_gradient(policy: PolicyModule, batch: Batch) -> None:
    gradients = _gradients(policy, batch)
    assert bool(gradients) != policy.head.closed_form, "every parameter gets a gradient: closed form, or not?"
    excused = [f"{place}.{name}" for place, module in policy.named_modules() for name in _without(module)]
    for name, gradient in gradients.items():
        told = bool(gradient.any()) or any(fnmatchcase(name, pattern) for pattern in excused)
        assert told, f"every parameter gets a gradient: not {name}"


def _without(module: nn.Module) -> Mapping[str, str]:
    return getattr(module, "without_gradient", {})


def _same_noise_same_bits(policy: PolicyModule, batch: Batch) -> None:
    one, two = (policy.loss_rows(batch, GeneratorNoise.seeded(3)).numerator for _ in range(2))
    assert torch.equal(one, two), "same noise, same bits: the loss differs"
    one, two = (_sample(policy, batch, seed=3) for _ in range(2))
    assert torch.equal(one, two), "same noise, same bits: the sample differs"


def _survives_saving(policy: PolicyModule, batch: Batch) -> None:
    with tempfile.TemporaryDirectory() as name:
        save_policy(policy, Path(name) / "policy")
        loaded = load_policy(Path(name) / "policy")
    before, after = tensors_of(policy), tensors_of(loaded)
    assert before.keys() == after.keys(), "survives saving: other tensors"
    assert all(torch.equal(before[key], after[key]) for key in before), "survives saving: other bits"
    assert loaded.config == policy.config, "survives saving: another config"
    assert loaded.spec == policy.spec, "survives saving: another spec"
    same = torch.equal(_sample(policy, batch, seed=5), _sample(loaded, batch, seed=5))
    assert same, "survives saving: another chunk"


def _padded_values_do_not_matter(policy: PolicyModule, batch: Batch) -> None:
    garbage = replace(
        batch,
        observation={name: _spoilt(value, batch.obs_is_pad) for name, value in batch.observation.items()},
        actions=_spoilt(batch.actions, batch.action_is_pad),
        weight=batch.weight + 7.0 * batch.action_is_pad,
    )
    if policy.config.horizon > 1:
        assert not torch.equal(garbage.actions, batch.actions), "the check itself found no padding to spoil"
    one, two = (policy.loss_rows(b, GeneratorNoise.seeded(3)) for b in (batch, garbage))
    assert torch.equal(one.numerator, two.numerator), "padded values do not matter: the loss changed"
    assert torch.equal(one.denominator, two.denominator), "padded values do not matter: the weight changed"
    clean, spoilt = _gradients(policy, batch), _gradients(policy, garbage)
    for name in clean:
        assert torch.equal(clean[name], spoilt[name]), f"padded values do not matter: gradient of {name}"
    chunks = [policy.predict_chunk(b.observation, b.obs_is_pad) for b in (batch, garbage)]
    assert torch.equal(*chunks), "padded values do not matter: the chunk changed"


def _halves_add_up(policy: PolicyModule, batch: Batch) -> None:
    half = len(batch) // 2
    parts = [batch.rows(torch.arange(half)), batch.rows(torch.arange(half, len(batch)))]
    whole = policy.loss_rows(batch, NoNoise())
    halves = [policy.loss_rows(part, NoNoise()) for part in parts]
    for name in ("numerator", "denominator"):
        joined = torch.cat([getattr(rows, name) for rows in halves])
        _close(getattr(whole, name), joined, f"halves add up: {name}")


def _rows_are_independent(policy: PolicyModule, batch: Batch) -> None:
    together = policy.predict_chunk(
        batch.observation, batch.obs_is_pad, noise=RowNoise(RowStreams.from_seed(9, len(batch)))
    )
    for row in range(len(batch)):
        streams = RowStreams.from_seed(9, len(batch)).take(np.array([row]))
        alone = batch.rows(torch.tensor([row]))
        chunk = policy.predict_chunk(alone.observation, alone.obs_is_pad, noise=RowNoise(streams))
        _close(together[row], chunk[0], f"rows are independent: row {row}")


def _order_does_not_matter(policy: PolicyModule, batch: Batch) -> None:
    order = torch.arange(len(batch)).flip(0)
    turned = batch.rows(order)
    rows, turned_rows = policy.loss_rows(batch, NoNoise()), policy.loss_rows(turned, NoNoise())
    _close(rows.numerator[order], turned_rows.numerator, "order does not matter: loss")
    chunk = policy.predict_chunk(batch.observation, batch.obs_is_pad)
    turned_chunk = policy.predict_chunk(turned.observation, turned.obs_is_pad)
    _close(chunk[order], turned_chunk, "order does not matter: chunk")


def _gradients(policy: PolicyModule, batch: Batch) -> dict[str, Tensor]:
    policy.zero_grad(set_to_none=True)
    if any(parameter.requires_grad for parameter in policy.parameters()):
        policy.loss_rows(batch, GeneratorNoise.seeded(4)).mean().backward()
    found = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in policy.named_parameters()
        if parameter.requires_grad
    }
    policy.zero_grad(set_to_none=True)
    return found


def _sample(policy: PolicyModule, batch: Batch, *, seed: int) -> Tensor:
    noise = GeneratorNoise.seeded(seed)
    return policy.predict_chunk(batch.observation, batch.obs_is_pad, noise=noise)


def _spoilt(value: Tensor, is_pad: Tensor) -> Tensor:
    mask = is_pad.view(*is_pad.shape, *[1] * (value.ndim - 2))
    wrong = value.flip(0).flip(1) if not value.is_floating_point() else value.new_full((), 1e6)
    return torch.where(mask, wrong, value)


def _close(one: Tensor, two: Tensor, law: str) -> None:
    difference = (one - two).abs().max().item()
    size = max(1.0, one.abs().max().item())
    assert difference <= _TOLERANCE * size, f"{law}: differs by {difference}"


LAWS: Mapping[str, Callable[[PolicyModule, Batch], None]] = {
    "shapes": _shapes,
    "every parameter gets a gradient": _every_parameter_gets_a_gradient,
    "same noise, same bits": _same_noise_same_bits,
    "survives saving": _survives_saving,
    "padded values do not matter": _padded_values_do_not_matter,
    "halves add up": _halves_add_up,
    "rows are independent": _rows_are_independent,
    "order does not matter": _order_does_not_matter,
}
"""Name of a law of a policy that knows its statistics -> its check."""
