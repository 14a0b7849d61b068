"""A carried state answers as the window encoded anew: episodes of any length, any rows, stopped anywhere."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, image_spec
from steadyhand.data.frames import Frames
from steadyhand.policies.choices import Cell
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.flow import Flow
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.rollout.executors.base import PolicyExecutor
from steadyhand.rollout.executors.ensemble import TemporalEnsemble
from steadyhand.rollout.executors.history import History
from steadyhand.rollout.executors.memory import StepMemory
from steadyhand.rollout.executors.realtime import RealTimeChunking
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.testing import toy_frames

CAMERA = "observation.images.front"
FRAMES = toy_frames(
    {STATE: FeatureSpec(shape=(3,)), CAMERA: image_spec(12, 12, 3)}, FeatureSpec(shape=(2,)), length=12
)
ALIGNED = {"horizon": 4, "chunk_start": -3}
CHUNKS = {"horizon": 6, "chunk_start": 0}
HEADS: dict[str, tuple[HeadConfig, dict[str, int]]] = {
    "aligned mixture": (Mixture(num_modes=2, joint=False), ALIGNED),
    "regression": (Regression(), CHUNKS),
    "gaussian": (Gaussian(), ALIGNED),
    "flow": (Flow(net=DenoisingMLP(hidden=(16,), time_width=8), num_sample_steps=2), CHUNKS),
}


def policy_of(head: str, *, cell: Cell = "lstm", images: bool = False, **changes: object) -> PolicyModule:
    made, chunk = HEADS[head]
    config = PolicyConfig(
        encoder=Recurrent(cell=cell, hidden=8, images=SmallConv(channels=(4,), width=4) if images else None),
        head=made,
        observation=(STATE, CAMERA) if images else (STATE,),
        n_obs_steps=4,
        **{"history": "reset", **chunk, **changes},  # pyright: ignore
    )
    policy = PolicyModule.build(config, PolicySpec.of_frames(FRAMES), seed=1)
    policy.fit_statistics(FRAMES)
    return policy


def pair(executor: type[PolicyExecutor], policy: PolicyModule, num_rows: int, **options: object):
    """Return the same controller twice: as it is, and with its windows encoded anew."""
    carried, anew = (executor(policy, num_rows=num_rows, **options) for _ in range(2))  # pyright: ignore
    assert isinstance(carried._history, StepMemory)  # pyright: ignore
    anew._history = History(policy, num_rows)  # pyright: ignore
    return carried, anew


def observed(frames: Frames, step: int, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Each row sees another stretch of the data."""
    index = (step + 5 * rows) % len(frames)
    return {name: np.ascontiguousarray(values[index]) for name, values in frames.observation.items()}


def assert_alike(
    carried: PolicyExecutor, anew: PolicyExecutor, num_rows: int, script: Sequence[tuple[str, int]]
) -> None:
    """Do what the script says with both, a step after each entry."""
    for controller in (carried, anew):
        controller.begin(np.arange(num_rows))
    for step, (what, place) in enumerate(script):
        rows = np.arange(num_rows)
        one = rows[[place % num_rows]]
        if what == "some":
            rows = np.setdiff1d(rows, one) if num_rows > 1 else rows
        for controller in (carried, anew):
            if what == "begin":
                controller.begin(one)
            elif what == "replan":
                controller.replan(one)
            elif what == "restore":
                kept = {name: value.copy() for name, value in controller.state().items()}
                controller.begin(np.arange(num_rows))
                controller.restore(kept)
        streams = RowStreams.from_seed(7, num_rows).take(rows)
        first, second = (
            controller.act(observed(FRAMES, step, rows), {}, rows, streams).action
            for controller in (carried, anew)  # nothing is drawn from the streams themselves
        )
        np.testing.assert_allclose(first, second, atol=2e-5, err_msg=f"step {step}, {what}")


SCRIPTS = st.lists(
    st.tuples(
        st.sampled_from(["all", "all", "all", "some", "begin", "replan", "restore"]), st.integers(0, 3)
    ),
    min_size=1,
    max_size=14,
)


@pytest.mark.parametrize("head", sorted(HEADS))
@settings(max_examples=8, deadline=None)
@given(script=SCRIPTS, num_rows=st.integers(1, 3), cell=st.sampled_from(["lstm", "gru"]))
def test_receding_horizon(head: str, script: list[tuple[str, int]], num_rows: int, cell: Cell) -> None:
    carried, anew = pair(RecedingHorizon, policy_of(head, cell=cell), num_rows)
    assert_alike(carried, anew, num_rows, script)


@settings(max_examples=8, deadline=None)
@given(script=SCRIPTS, num_rows=st.integers(1, 3))
def test_chunks_that_are_played_for_some_steps(script: list[tuple[str, int]], num_rows: int) -> None:
    policy = policy_of("regression", n_action_steps=3)
    assert_alike(*pair(RecedingHorizon, policy, num_rows), num_rows, script)
    assert_alike(*pair(RecedingHorizon, policy, num_rows, delay=1), num_rows, script)
    assert_alike(*pair(TemporalEnsemble, policy, num_rows), num_rows, script)
    flow = policy_of("flow", n_action_steps=3)
    assert_alike(*pair(RealTimeChunking, flow, num_rows, delay=1), num_rows, script)


def test_pictures() -> None:
    script = [("all", 0)] * 6 + [("some", 1), ("begin", 0), ("restore", 0), ("all", 0)]
    assert_alike(*pair(RecedingHorizon, policy_of("gaussian", images=True), 2), 2, script)


def test_a_policy_is_carried_only_where_that_is_what_it_was_trained_for() -> None:
    assert StepMemory.fits(policy_of("regression"))
    assert not StepMemory.fits(policy_of("regression", history="sliding")), "each window begins at zero state"
    relative = policy_of("regression", action_representation="relative", state_dims=(0, 1))
    assert not StepMemory.fits(relative), "it reads the raw state of the window"


def test_a_step_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_of("aligned mixture")
    lengths: list[int] = []
    encoder = policy.encoder
    assert isinstance(encoder, RecurrentEncoder)

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        del module
        lengths.append(inputs[0].shape[1])

    encoder.net.layers.register_forward_pre_hook(note)
    executor = RecedingHorizon(policy, num_rows=1)
    executor.begin(np.arange(1))
    for step in range(9):
        executor.act(observed(FRAMES, step, np.arange(1)), {}, np.arange(1), RowStreams.from_seed(0, 1))
    assert lengths == [1] * 9
