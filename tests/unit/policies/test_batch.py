"""Batches against a loop over episodes, and what may be drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.errors import DataError
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames, WindowSpec
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.padding import copy_pad

CAMERA = IMAGES + "front"


def make_frames(lengths: tuple[int, ...]) -> Frames:
    rng = np.random.default_rng(sum(lengths))
    episodes = [
        demonstration(
            {
                STATE: rng.normal(size=(length, 3)).astype(np.float32),
                CAMERA: rng.integers(0, 256, (length, 4, 5, 1)).astype(np.uint8),
            },
            rng.normal(size=(length, 2)).astype(np.float32),
            control_dt=0.1,
        )
        for length in lengths
    ]
    spec = {STATE: FeatureSpec(shape=(3,)), CAMERA: image_spec(4, 5, 1)}
    return Frames.from_episodes(episodes, observation_spec=spec, action_spec=FeatureSpec(shape=(2,)))


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple),
    first_obs=st.integers(-3, 0),
    action_span=st.tuples(st.integers(-2, 0), st.integers(0, 4)),
)
def test_a_batch_equals_a_loop_over_episodes(
    lengths: tuple[int, ...], first_obs: int, action_span: tuple[int, int]
) -> None:
    frames = make_frames(lengths)
    window = WindowSpec(
        obs_offsets=tuple(range(first_obs, 1)),
        action_offsets=tuple(range(action_span[0], action_span[1] + 1)),
    )
    batch = WindowSource(frames, window).batch(np.arange(len(frames)))
    for step in range(len(frames)):
        episode = int(frames.episode_of[step])
        begin, end = int(frames.episode_starts[episode]), int(frames.episode_ends[episode])
        for column, offset in enumerate(window.obs_offsets):
            wanted = min(max(step + offset, begin), end - 1)
            assert batch.obs_is_pad[step, column].item() == (wanted != step + offset)
            for name in (STATE, CAMERA):
                assert np.array_equal(batch.observation[name][step, column], frames.observation[name][wanted])
        for column, offset in enumerate(window.action_offsets):
            wanted = min(max(step + offset, begin), end - 1)
            assert batch.action_is_pad[step, column].item() == (wanted != step + offset)
            assert np.array_equal(batch.actions[step, column], frames.expert_action[wanted])


def test_single_steps_are_gathered_alike_by_the_short_and_the_general_path() -> None:
    frames, steps = make_frames((5, 4)), np.array([3, 0, 8, 3])
    one = WindowSource(frames, WindowSpec())
    short = one.batch(steps)
    general = WindowSource(frames, WindowSpec(action_offsets=(0, 1))).batch(steps)
    assert torch.equal(short.actions, general.actions[:, :1])
    assert torch.equal(short.observation[STATE], general.observation[STATE])
    for count in (4, 1, 3, 2):  # what is kept from the batch before
        for source in (WindowSource(frames, WindowSpec()), one):
            batch = source.batch(steps[:count])
            for pads in (batch.action_is_pad, batch.obs_is_pad):
                assert (pads.shape, pads.dtype) == ((count, 1), torch.bool)
                assert not pads.any()
            assert batch.weight.tolist() == [[1.0]] * count


def test_unlabelled_steps_are_never_drawn_and_weigh_nothing() -> None:
    frames = make_frames((6,))
    weight = np.array([1, 0, 2, 0, 1, 1], dtype=np.float32)
    frames = replace(frames, weight=weight)
    source = WindowSource(frames, WindowSpec(action_offsets=(0, 1)))
    assert source.steps.tolist() == [0, 2, 4, 5]
    assert source.batch(np.array([0, 2])).weight.tolist() == [[1, 0], [2, 0]]
    assert WindowSource(frames, WindowSpec(), steps=np.array([1, 2, 3])).steps.tolist() == [2]
    with pytest.raises(DataError, match="No step can be trained on"):
        WindowSource(frames, WindowSpec(), steps=np.array([1, 3]))


@pytest.mark.parametrize("weights", [[2.0] * 4, [1.0, 2.0, 1.0, 0.5], [1.0] * 4])
@pytest.mark.parametrize("horizon", [1, 3])
def test_weights_are_those_of_the_steps(weights: list[float], horizon: int) -> None:
    frames = replace(make_frames((4,)), weight=np.array(weights, np.float32))
    source = WindowSource(frames, WindowSpec(action_offsets=tuple(range(horizon))))
    for steps in ([3, 0], [1, 2, 0]):
        wanted = [[weights[min(step + offset, 3)] for offset in range(horizon)] for step in steps]
        assert source.batch(np.array(steps)).weight.tolist() == wanted
    assert source.weight_of(np.array([2, 1])).tolist() == [weights[2], weights[1]]


def test_rows_of_a_batch_are_those_windows() -> None:
    frames, kind = make_frames((5, 4)), np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    window, steps = WindowSpec(obs_offsets=(-1, 0), action_offsets=(0, 1, 2)), np.array([3, 0, 8, 5])
    for marks in (kind, None):
        source = WindowSource(frames, window, kind=marks)
        some, wanted = source.batch(steps).rows(torch.tensor([2, 0])), source.batch(steps[[2, 0]])
        assert len(some) == 2
        for name in ("obs_is_pad", "actions", "action_is_pad", "weight"):
            assert torch.equal(getattr(some, name), getattr(wanted, name))
        assert torch.equal(some.observation[STATE], wanted.observation[STATE])
        if marks is None:
            assert some.kind is None
        else:
            assert some.kind is not None
            assert some.kind.tolist() == [[2, 2, 2], [0, 1, 1]]


def test_memory_mapped_images_give_the_same_batches(tmp_path: Path) -> None:
    frames = make_frames((5, 5))
    path = tmp_path / "images.npy"
    np.save(path, frames.observation[CAMERA])
    mapped = np.load(path, mmap_mode="r")
    lazy = replace(frames, observation={**frames.observation, CAMERA: mapped})
    steps = np.array([9, 2, 2, 5])
    window = WindowSpec(obs_offsets=(-1, 0))
    one, two = WindowSource(frames, window).batch(steps), WindowSource(lazy, window).batch(steps)
    assert torch.equal(one.observation[CAMERA], two.observation[CAMERA])
    assert two.observation[CAMERA].dtype == torch.uint8


def test_columns_are_shared_not_copied() -> None:
    frames = make_frames((4,))
    source = WindowSource(frames, WindowSpec())
    frames.expert_action[2] = 7.0
    assert source.batch(np.array([2])).actions.tolist() == [[[7.0, 7.0]]]


@given(is_pad=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
def test_padding_repeats_the_last_valid_step_or_the_first(is_pad: list[list[bool]]) -> None:
    mask = torch.tensor(is_pad)
    value = torch.arange(mask.numel()).view(*mask.shape, 1) + 1
    filled = copy_pad(value, mask)
    for row, pads in enumerate(is_pad):
        valid = [step for step, pad in enumerate(pads) if not pad]
        for step in range(4):
            earlier = [index for index in valid if index <= step]
            source = (earlier[-1] if earlier else valid[0]) if valid else None
            wanted = 0 if source is None else value[row, source].item()
            assert filled[row, step].item() == wanted
    if not mask.any():
        assert filled is value
