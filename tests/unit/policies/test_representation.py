"""Action representations against loops, and pairings that make no sense."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.choices import Representation
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.representation import ActionRepresentation
from steadyhand.policies.spec import PolicyConfig, PolicySpec

KINDS: list[Representation] = ["absolute", "delta", "relative"]


def make(kind: Representation, dims: tuple[int, ...], *, state_size: int = 4) -> ActionRepresentation:
    return ActionRepresentation(
        kind,
        action=FeatureSpec(shape=(len(dims),)),
        state=FeatureSpec(shape=(state_size,)),
        state_name=STATE,
        state_dims=dims,
    )


def by_loops(kind: str, actions: np.ndarray, state: np.ndarray, dims: tuple[int, ...]) -> np.ndarray:
    out = actions.copy()
    for row in range(len(actions)):
        for step in range(actions.shape[1]):
            for entry, dim in enumerate(dims):
                if dim < 0 or kind == "absolute":
                    continue
                start = state[row, dim]
                before = start if kind == "relative" or step == 0 else actions[row, step - 1, entry]
                out[row, step, entry] = actions[row, step, entry] - before
    return out


@given(
    kind=st.sampled_from(KINDS),
    dims=st.lists(st.integers(-1, 3), min_size=1, max_size=4).map(tuple),
    horizon=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_it_equals_the_definition_and_its_inverse_undoes_it(
    kind: Representation, dims: tuple[int, ...], horizon: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    actions = rng.normal(size=(3, horizon, len(dims))).astype(np.float32)
    state = rng.normal(size=(3, 4)).astype(np.float32)
    representation = make(kind, dims)
    encoded = representation.encode(torch.from_numpy(actions), torch.from_numpy(state))
    np.testing.assert_allclose(encoded, by_loops(kind, actions, state, dims), atol=1e-6)
    decoded = representation.decode(encoded, torch.from_numpy(state))
    np.testing.assert_allclose(decoded, actions, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_cut_short_is_represented_alike(kind: Representation) -> None:
    actions, state = torch.randn(2, 6, 3), torch.randn(2, 4)
    representation = make(kind, (0, -1, 2))
    whole, part = representation.encode(actions, state), representation.encode(actions[:, :3], state)
    assert torch.equal(whole[:, :3], part)
    torch.testing.assert_close(representation.decode(part, state), actions[:, :3])


@pytest.mark.parametrize(
    ("action", "state", "dims"),
    [
        (FeatureSpec(shape=(2,)), FeatureSpec(shape=(3,)), ()),
        (FeatureSpec(shape=(2,)), FeatureSpec(shape=(3,)), (0,)),
        (FeatureSpec(shape=(2,)), FeatureSpec(shape=(3,)), (0, 3)),
        (FeatureSpec(shape=(2,)), FeatureSpec(shape=(3,)), (0, -2)),
        (FeatureSpec(shape=(4,)), FeatureSpec(shape=(2, 2)), ()),
        (discrete_spec(4), FeatureSpec(shape=(1,)), ()),
        (FeatureSpec(shape=(6,)), FeatureSpec(shape=(6,), kind="rotation"), ()),
        (FeatureSpec(shape=(1,), units=("m/s",)), FeatureSpec(shape=(1,), units=("m",)), ()),
        (FeatureSpec(shape=(2,), units=("m", "m")), FeatureSpec(shape=(2,), units=("m", "rad")), (1, 0)),
    ],
    ids=[
        "sizes",
        "too few",
        "too far",
        "too low",
        "matrix",
        "discrete",
        "rotation",
        "units",
        "one unit",
    ],
)
def test_a_wrong_pairing_raises(action: FeatureSpec, state: FeatureSpec, dims: tuple[int, ...]) -> None:
    with pytest.raises(SpecError):
        ActionRepresentation("relative", action=action, state=state, state_name=STATE, state_dims=dims)


@pytest.mark.parametrize(
    ("units", "state_units"),
    [
        (("m", "V"), ("rad", "m")),
        (None, ("rad", "m")),
        (("m", "V"), None),
    ],
)
def test_what_agrees_or_stays_absolute_is_paired(units, state_units) -> None:
    """The first action commands the second of the state, the second (a gripper's voltage) nothing there."""
    representation = ActionRepresentation(
        "relative",
        action=FeatureSpec(shape=(2,), units=units),
        state=FeatureSpec(shape=(2,), units=state_units),
        state_name=STATE,
        state_dims=(1, -1),
    )
    encoded = representation.encode(torch.tensor([[[5.0, 6.0]]]), torch.tensor([[1.0, 3.0]]))
    assert encoded.tolist() == [[[2.0, 6.0]]]


def test_a_missing_state_raises() -> None:
    representation = make("relative", (0,))
    with pytest.raises(SpecError, match="need the state"):
        representation.encode(torch.zeros(1, 1, 1), None)
    with pytest.raises(ConfigError, match="state"):
        ActionRepresentation("delta", action=FeatureSpec(shape=(1,)), state=None, state_name=STATE)


def test_delta_chunks_cannot_begin_in_the_past() -> None:
    with pytest.raises(ConfigError, match="past"):
        PolicyConfig(n_obs_steps=2, chunk_start=-1, horizon=4, action_representation="delta")


@pytest.mark.parametrize(("kind", "low", "high"), [("delta", 0.5, 1.0), ("relative", 0.5, 3.5)])
def test_statistics_are_those_of_the_represented_windows(
    kind: Representation, low: float, high: float
) -> None:
    """State t, action t + 1/2, horizon 4: deltas are 1/2 then 1; relative ones 1/2 to 7/2, pads left out."""
    state = np.arange(10, dtype=np.float32)[:, None]
    frames = Frames.from_episodes(
        [demonstration({STATE: state}, state + 0.5, control_dt=0.1)],
        observation_spec={STATE: FeatureSpec(shape=(1,))},
        action_spec=FeatureSpec(shape=(1,)),
    )
    config = PolicyConfig(horizon=4, action_representation=kind)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    affine = policy.normaliser["action"]
    reached = affine(torch.tensor([[low], [high]]))
    torch.testing.assert_close(reached, torch.tensor([[-1.0], [1.0]]))
