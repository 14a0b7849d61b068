"""Further training on larger actions: every head can answer them afterwards, or is refused beforehand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.core.parts import resolved
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.data.episode import Episode, demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.choices import Mode
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.diffusion import Diffusion
from steadyhand.policies.heads.energy import Energy
from steadyhand.policies.heads.energy_head import EnergyHead
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.mip import Mip
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.primitives import Primitives
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.noise import GeneratorNoise, Noise, scoped
from steadyhand.policies.normaliser import Affine
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.widening import widen
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.testing import policy_classes, toy_frames
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

TWO = FeatureSpec(shape=(2,), names=("x", "y"))


class Stub(Head):
    """Takes new units, or keeps its own."""

    def __init__(self, *, takes: bool) -> None:
        super().__init__()
        self.takes = takes
        self.asked: list[list[float]] = []

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        raise NotImplementedError

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Tensor:
        raise NotImplementedError

    def widen(self, low: Tensor, high: Tensor) -> bool:
        self.asked = [low.tolist(), high.tolist()]
        return self.takes


def ranged(mode: Mode = "min_max") -> Affine:
    """Return a normaliser of labels from 3 to 5 and from -4 to 4: offsets 4 and 0, scales 1 and 4."""
    affine = Affine("action", (2,), mode=mode, role="output")
    affine.fit(np.array([[3.0, -4.0], [5.0, 4.0]], np.float32))
    return affine


def labels(*rows: tuple[float, float]) -> np.ndarray:
    return np.array([(4.0, 0.0), *rows], np.float32)


@pytest.mark.parametrize(
    ("row", "outside"),
    [
        ((5.0, 4.0), False),
        ((3.0, -4.0), False),
        ((5.0009, -4.0036), False),  # by less than a thousandth
        ((2.9985, 0.0), True),
        ((5.0015, 0.0), True),
        ((4.0, 4.006), True),
        ((4.0, -4.006), True),
    ],
)
def test_labels_are_outside_where_they_leave_the_range_by_a_thousandth(row, outside) -> None:
    head, affine = Stub(takes=True), ranged()
    assert widen(head, affine, TWO, labels(row)) == outside
    assert bool(head.asked) == outside
    assert widen(Stub(takes=False), ranged(), TWO, labels(row)) == outside


def test_the_range_grows_to_hold_the_old_and_the_new() -> None:
    head, affine = Stub(takes=True), ranged()
    assert widen(head, affine, TWO, labels((1.0, 2.0), (4.5, 6.0)))
    assert head.asked == [[-3.0, -1.0], [1.0, 1.5]]
    assert (affine.offset.tolist(), affine.scale.tolist()) == ([3.0, 1.0], [2.0, 5.0])  # 1 to 5, and -4 to 6
    np.testing.assert_allclose(affine.spread, labels((1.0, 2.0), (4.5, 6.0)).std(0), rtol=1e-6)
    kept = ranged()
    assert widen(Stub(takes=False), kept, TWO, labels((1.0, 2.0)))
    assert (kept.offset.tolist(), kept.scale.tolist()) == ([4.0, 0.0], [1.0, 4.0])


def test_a_head_that_keeps_its_units_takes_labels_up_to_twenty_times_as_far() -> None:
    head = Stub(takes=False)
    for near in ((24.0, 80.0), (-16.0, -80.0)):
        assert widen(head, ranged(), TWO, labels(near))
    for far, place in (((24.01, 0.0), r"action\[0\] \(x\)"), ((4.0, -80.04), r"action\[1\] \(y\)")):
        with pytest.raises(CapabilityError, match=place):
            widen(head, ranged(), TWO, labels(far))
        assert widen(Stub(takes=True), ranged(), TWO, labels(far))
        # Where the range was never that of the labels, distance says nothing.
        assert widen(head, ranged("z_score"), TWO, labels(far))


def test_a_head_is_always_asked_where_the_range_is_not_that_of_the_labels() -> None:
    head = Stub(takes=False)
    assert widen(head, ranged("z_score"), TWO, labels()) is False
    assert head.asked == [[-1.0, -1.0], [1.0, 1.0]]


BASE = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)), num_episodes=6)
SEEN = np.random.default_rng(0).normal(size=(len(BASE), 3)).astype(np.float32)
SHOWN = (0.2 + np.tanh(SEEN[:, :2]) * [1.0, 0.5]).astype(np.float32)
BIG = replace(BASE, observation={STATE: SEEN}, expert_action=SHOWN)
SMALL = replace(BASE, observation={STATE: SEEN}, expert_action=SHOWN / 3)
NET = DenoisingMLP(hidden=(64, 64), time_width=16)
TIED: dict[str, HeadConfig] = {
    "Bins": Bins(num_bins=8, width=8),
    "one by one": Bins(num_bins=8, dependence="independent"),
    "GaussianHill": GaussianHill(num_units=8),
    "LogLinear": LogLinear(num_bins=8, num_bumps=4),
    "Primitives": Primitives(num_primitives=4),
    "tanh means": Mixture(num_modes=2, tanh_mean=True),
    "tanh": Gaussian(squash=True),
    "judged bins": Judging(head=Bins(num_bins=8, width=8), settle=1),
}
FREE = {name: one.head for name, one in policy_classes().items() if not one.is_discrete and name not in TIED}
GENERATIVE: dict[str, HeadConfig] = {
    "Diffusion": Diffusion(net=NET),
    "Diffusion, sample": Diffusion(net=NET, prediction="sample"),
    "Flow": Flow(net=NET),
    "Mip": Mip(net=NET),
}


def begun(head: HeadConfig, *, num_steps: int = 2, frames: Frames = SMALL, **config: object) -> PolicyModule:
    """Return a policy that has been trained on the small actions."""
    settings = PolicyConfig(encoder=StateMLP(hidden=(32,)), head=head, **config)  # pyright: ignore
    policy = PolicyModule.build(settings, PolicySpec.of_frames(frames), seed=0)
    policy.fit_statistics(frames)
    further(policy, frames, num_steps)
    return policy


def further(policy: PolicyModule, frames: Frames, num_steps: int) -> None:
    config = TrainConfig(num_steps=num_steps, batch_size=32, learning_rate=3e-3, warmup_steps=10)
    fit(policy, WindowSource(frames, policy.window), config=config)


def answers(policy: PolicyModule) -> np.ndarray:
    return policy.predict_chunk({STATE: SEEN[:, None]}, noise=GeneratorNoise.seeded(0))[:, 0].numpy()


@pytest.mark.parametrize("name", [*sorted({**FREE, **GENERATIVE}.keys() - {"Judging"}), "judged"])
def test_after_further_training_larger_actions_are_answered(name: str) -> None:
    """A third of the labels' range at first, all of it afterwards."""
    head = {**FREE, **GENERATIVE, "judged": Judging(head=Regression(), settle=1)}[name]
    policy = begun(head, num_steps=100)
    most = np.abs(SMALL.expert_action).max()
    assert np.abs(answers(policy)).max() < 2 * most
    further(policy, BIG, 200)
    assert np.abs(answers(policy)).max() > 2.2 * most, "the largest label is 3 times the first largest"


@pytest.mark.parametrize("name", sorted(TIED))
def test_what_is_tied_to_its_first_range_is_refused_before_training(name: str) -> None:
    policy = begun(TIED[name])
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    with pytest.raises(CapabilityError, match="range of the first ones") as caught:
        further(policy, BIG, 1)
    assert "train from the start" in str(caught.value)
    for key, value in policy.state_dict().items():
        assert torch.equal(value, before[key]), key
    further(policy, SMALL, 1)


@pytest.mark.parametrize("name", ["Bins", "GaussianHill", "LogLinear"])
def test_a_range_that_was_found_in_the_data_counts_as_well(name: str) -> None:
    policy = begun(TIED[name], normalisation={"action": "z_score"})
    with pytest.raises(CapabilityError, match="range of the first ones"):
        further(policy, BIG, 1)


@pytest.mark.parametrize(
    "name", ["Regression", "Act", "Gaussian", "Mixture", "Tokens", "Latent", "Flow", "Mip"]
)
def test_no_answer_changes_until_training_does_it(name: str) -> None:
    policy = begun({**FREE, **GENERATIVE}[name])
    before = answers(policy)
    assert policy.adapt_statistics(BIG)
    np.testing.assert_allclose(answers(policy), before, atol=1e-6)
    assert not policy.adapt_statistics(SMALL)


@pytest.mark.parametrize("name", ["Regression", "Act", "Energy"])
def test_a_linear_last_layer_takes_the_scale_and_the_normaliser_follows(name: str) -> None:
    policy = begun(FREE[name])
    assert policy.adapt_statistics(BIG)
    action = policy.affines["action"]
    labels = np.concatenate([SMALL.expert_action, BIG.expert_action])
    inside = action(torch.from_numpy(labels))
    torch.testing.assert_close(inside.amin(0), torch.tensor([-1.0, -1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(inside.amax(0), torch.tensor([1.0, 1.0]), atol=1e-5, rtol=0)


def test_an_energy_keeps_its_score_of_every_action() -> None:
    policy = begun(Energy(num_others=6, num_stored=8, num_refinements=1))
    head, action = policy.head, policy.affines["action"]
    assert isinstance(head, EnergyHead)
    context = Context.single(torch.randn(5, 32))
    raw = torch.randn(5, 7, 2)
    before, stored = head.score(context, action(raw)), action.inverse(head.stored)
    policy.adapt_statistics(BIG)
    torch.testing.assert_close(head.score(context, action(raw)), before, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(action.inverse(head.stored), stored, atol=1e-5, rtol=1e-5)


SMALL_ACT = Act(
    width=8, num_heads=2, feedforward=8, latent_dim=3, num_posterior_layers=1, num_decoder_layers=1
)
CHANGES_ITS_UNITS = {"Act", "Energy", "Judging", "Regression"}


@pytest.mark.parametrize("is_bounded", [False, True])
@pytest.mark.parametrize(
    "name", sorted(HeadConfig.ours.keys() - {"Nearest", "Ridge", "Tabular", "Primitives"})
)
def test_a_head_says_whether_it_answers_in_new_units(name: str, is_bounded: bool) -> None:
    """A linear layer takes the scale over. What else goes on does so in the old units."""
    config = resolved(HeadConfig, name)()
    discrete = None if "continuous" in config.actions else 3
    chunk = ChunkSpec(horizon=2, action_dim=1, num_classes=discrete, is_bounded=is_bounded and not discrete)
    head = (SMALL_ACT if name == "Act" else config).build(ContextSpec(num_tokens=1, width=4), chunk)
    found = head.widen(torch.tensor([-1.0]), torch.tensor([1.0]))
    assert found == (is_bounded and name in CHANGES_ITS_UNITS)


def test_the_posterior_of_act_reads_what_it_read_before() -> None:
    chunk = ChunkSpec(horizon=3, action_dim=2, is_bounded=True)
    with scoped(0):
        head = SMALL_ACT.build(ContextSpec(num_tokens=1, width=4, state_width=5), chunk)
        state, actions, latent = torch.randn(4, 5), torch.randn(4, 3, 2), torch.randn(4, 3)
        context = Context.single(torch.randn(4, 4), state=state)
    is_pad = torch.zeros(4, 3, dtype=torch.bool)
    low, high = torch.tensor([-1.5, -1.0]), torch.tensor([3.5, 2.0])
    middle, half = torch.tensor([1.0, 0.5]), torch.tensor([2.5, 1.5])
    before, answer = head.posterior(state, actions, is_pad, None), head.decode(context, latent)
    assert head.widen(low, high)
    for one, other in zip(
        head.posterior(state, (actions - middle) / half, is_pad, None), before, strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(middle + half * head.decode(context, latent), answer, atol=1e-5, rtol=1e-4)


def test_a_wider_clip_is_part_of_the_artifact(tmp_path: Path) -> None:
    policy = begun(Diffusion(net=NET, prediction="sample"), num_steps=150)
    further(policy, BIG, 300)
    save_policy(policy, tmp_path / "policy")
    np.testing.assert_array_equal(answers(load_policy(tmp_path / "policy")), answers(policy))


def test_a_joint_that_was_locked_and_moves_now() -> None:
    """Its first labels tremble by a millionth: a head that keeps its units would see a thousand of them."""
    tremble = 1e-6 * np.random.default_rng(1).standard_normal(len(BASE)).astype(np.float32)
    locked = replace(SMALL, expert_action=np.stack([SHOWN[:, 0], 0.5 + tremble], axis=1).astype(np.float32))
    policy = begun(Regression(), num_steps=150, frames=locked)
    assert np.abs(answers(policy)[:, 1] - 0.5).max() < 1e-3
    further(policy, BIG, 400)
    assert np.abs(answers(policy)[:, 1] - SHOWN[:, 1]).mean() < 0.1
    with pytest.raises(CapabilityError, match=r"action\[1\]"):
        further(begun(Mip(net=NET), frames=locked), BIG, 1)


def test_a_learner_that_goes_on_from_its_last_iterate_can_answer_corrections(tmp_path: Path) -> None:
    spec = EnvSpec(
        env_id="toy",
        observation={STATE: FeatureSpec(shape=(3,))},
        action=FeatureSpec(shape=(2,)),
        control_dt=0.1,
        max_episode_steps=100,
    )

    def episode(frames: Frames) -> Episode:
        return demonstration({STATE: SEEN}, frames.expert_action, control_dt=0.1)

    training = TrainConfig(num_steps=150, batch_size=32, learning_rate=3e-3, warmup_steps=10)
    config = PolicyConfig(encoder=StateMLP(hidden=(32,)), head=Diffusion(net=NET, prediction="sample"))
    learner = PolicyLearner(spec, policy=config, training=training)
    first, second = tmp_path / "first", tmp_path / "second"
    learner.fit([episode(SMALL)], folder=first, seed=0, warm_start=None)
    learner.fit([episode(SMALL), episode(BIG)], folder=second, seed=1, warm_start=first)
    largest = [np.abs(answers(learner.policy(folder))).max() for folder in (first, second)]
    assert largest[1] > 2 * largest[0]
    tied = learner.with_policy(replace(config, head=Bins(num_bins=8, width=8)))
    tied.fit([episode(SMALL)], folder=tmp_path / "third", seed=0, warm_start=None)
    with pytest.raises(CapabilityError, match="train from the start"):
        tied.fit([episode(BIG)], folder=tmp_path / "fourth", seed=1, warm_start=tmp_path / "third")
    assert not (tmp_path / "fourth" / "policy").exists()
