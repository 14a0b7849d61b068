"""Flat arrays against plain slicing, and the rollouts of the `imitation` library."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.errors import DataError, SpecError
from steadyhand.core.specs import FeatureSpec, discrete_spec, image_spec
from steadyhand.data.checks import check
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.arrays import episodes_from_arrays, open_npz
from steadyhand.data.store import EpisodeStore


@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5), with_final=st.booleans())
def test_cutting_equals_slicing(lengths: list[int], *, with_final: bool) -> None:
    rng = np.random.default_rng(0)
    steps = sum(lengths)
    rows = steps + len(lengths) * with_final
    observation = rng.normal(size=(rows, 3))
    action = rng.normal(size=(steps, 2)).astype(np.float32)
    data = episodes_from_arrays(
        {"observation.state": observation}, action, np.cumsum(lengths), control_dt=0.1
    )
    assert data.lengths.tolist() == lengths
    first = row = 0
    for one, length in zip(data.all_episodes, lengths, strict=True):
        np.testing.assert_array_equal(one.action, action[first : first + length])
        expected = observation[row : row + length].astype(np.float32)
        np.testing.assert_array_equal(one.observation["observation.state"], expected)
        if with_final:
            assert one.final_observation is not None
            last = observation[row + length].astype(np.float32)
            np.testing.assert_array_equal(one.final_observation["observation.state"], last)
        else:
            assert one.final_observation is None
        first, row = first + length, row + length + with_final
    assert len(data.frames()) == steps


def test_npz_with_every_array(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "observation.state": rng.normal(size=(5, 2)),
        "observation.images.top": rng.integers(0, 256, (5, 4, 6, 3), dtype=np.uint8),
        "action": np.array([0, 2, 1, 0, 0]),
        "reward": np.arange(5.0),
        "terminated": np.array([True, False]),
        "success": np.array([True, False]),
        "episode_ends": np.array([2, 5]),
    }
    np.savez(tmp_path / "own.npz", **arrays)
    data = open_npz(tmp_path / "own.npz", control_dt=0.05, task="stack", classes=(0, 2))
    assert data.action == discrete_spec(3)
    assert data.observation["observation.images.top"].kind == "image"
    first, second = data.all_episodes
    assert (first.terminated, first.success, second.truncated) == (True, True, True)
    assert second.reward.tolist() == [2, 3, 4]
    assert data.tasks == ("stack",)
    assert first.provenance.source == "own"
    assert data.frames(("observation.state",)).action[:, 0].tolist() == [0, 2, 1, 0, 0]


def test_rollouts_of_imitation(shared_data: Path) -> None:
    folder = shared_data / "imitation-rollouts"
    cartpole = open_npz(folder / "cartpole.npz", control_dt=0.02, classes=(0, 1))
    assert (cartpole.num_episodes, cartpole.num_frames) == (57, 26_964)
    assert cartpole.action == discrete_spec(2)
    with np.load(folder / "cartpole.npz", allow_pickle=False) as raw:
        second_start = int(raw["indices"][0]) + 1
        first_row = raw["obs"][second_start]
        np.testing.assert_array_equal(cartpole.episode(1).observation["observation.state"][0], first_row)
    pendulum = open_npz(folder / "pendulum.npz", control_dt=0.05)
    assert pendulum.lengths.tolist() == [200] * 56
    for one in pendulum.all_episodes:
        norm = np.linalg.norm(one.observation["observation.state"][:, :2], axis=1)  # cosine and sine
        np.testing.assert_allclose(norm, 1, atol=1e-5)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    good = {
        "observation": np.zeros((6, 2)),
        "action": np.zeros((6, 1)),
        "episode_ends": np.array([2, 6]),
    }
    for change in (
        {"observation": np.zeros((7, 2))},
        {"observation": np.full((6, 2), np.nan)},
        {"observation": np.array(["a"] * 6)},
        {"episode_ends": np.array([2, 4])},
        {"episode_ends": np.array([4, 2, 6])},
        {"episode_ends": np.array([2.0, 6.0])},
        {"reward": np.zeros(5)},
        {"terminated": np.zeros(3, dtype=bool)},
        {"action": np.array([0, 1, -1, 0, 0, 0]), "classes": np.array([0, 1])},
        {"action": np.array([0, 1, 0.5, 0, 0, 0]), "classes": np.array([0, 1])},
        {"action": np.zeros((6, 2), dtype=np.int64), "classes": np.array([0, 1])},
        {"action": np.zeros(6, dtype=np.int64), "classes": np.array([0.0, 1.0])},
        {"observation.images.front": np.zeros((6, 4, 84, 84), np.uint8)},
        {"reward": np.array(["a"] * 6)},
        {"reward": np.ones(6) * 1j},
        {"observation": np.array(1.0)},
        {"observation": np.zeros((6, 0))},
        {"action": np.array(1.0)},
        {"action": np.zeros((6, 0))},
        {"terminated": np.array([0, 2])},
        {"terminated": np.array([0.0, np.nan])},
        {"success": np.array([0.5, 1.0])},
        {"success": np.array(["yes", "no"])},
        {"action": np.zeros(6, dtype=np.int64), "classes": np.array([2, 0])},
        {"action": np.zeros(6, dtype=np.int64), "classes": np.array([0, 10**12])},
        {"observation": np.array([{}] * 6, dtype=object)},
    ):
        np.savez(tmp_path / "bad.npz", **(good | change))
        with pytest.raises(DataError, match=r"bad\.npz"):
            open_npz(tmp_path / "bad.npz", control_dt=0.1)
    np.savez(tmp_path / "bad.npz", action=good["action"])
    with pytest.raises(DataError, match=r"(?s)lacks arrays.*expected: +also observation .*, episode_ends"):
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    for path in (tmp_path / "bad.npz", tmp_path / "absent.npz"):
        with pytest.raises(DataError):
            open_npz(path, control_dt=0.1)


def test_success_may_be_unknown() -> None:
    data = episodes_from_arrays(
        {"observation.state": np.zeros((3, 1))},
        np.zeros((3, 1)),
        np.array([1, 2, 3]),
        control_dt=0.1,
        success=np.array([1.0, np.nan, 0.0]),
    )
    assert [one.success for one in data.all_episodes] == [True, None, False]


def test_arrays_that_nothing_reads_are_named(tmp_path: Path) -> None:
    arrays = {"observation": np.zeros((3, 1)), "action": np.zeros((3, 1)), "episode_ends": np.array([3])}
    np.savez(tmp_path / "own.npz", **arrays, gripper=np.zeros((3, 1)), indices=np.array([1]))
    assert open_npz(tmp_path / "own.npz", control_dt=0.1).unread == ("gripper", "indices")
    notes = [problem.what for problem in check(tmp_path / "own.npz").problems if problem.code == "unread"]
    assert notes == ["nothing reads gripper, indices"]


@pytest.mark.parametrize(
    ("values", "is_lost"),
    [
        (1.7e9 + 0.1 * np.arange(200), True),  # a clock
        (1_700_000_000_000_000_000 + 100_000_000 * np.arange(200), True),
        (np.sin(0.1 * np.arange(200)), False),
        (600 + np.arange(200), False),
        (1.0 + 1e-15 * np.arange(200), False),  # the rounding of float64
        (0.5 + np.r_[0.0, 1.0, 1e-12 * np.arange(198)], False),  # rests almost all the time
    ],
)
def test_numbers_that_float32_makes_equal_are_told(
    caplog: pytest.LogCaptureFixture, values: np.ndarray, is_lost: bool
) -> None:
    name = f"observation.at_{int(values[-1])}"  # said once for each
    episodes_from_arrays({name: values}, np.zeros((200, 1)), np.array([200]), control_dt=0.1)
    assert (f"{name}, entry 0, is read as float32" in caplog.text) == is_lost


def whole(action, **kwargs):
    return episodes_from_arrays(
        {"observation.state": np.zeros((4, 1))}, action, np.array([4]), control_dt=0.1, **kwargs
    )


def test_whole_numbers_are_numbers_unless_they_are_said_to_be_choices() -> None:
    servo = np.array([600, 1800, 3000, 2400])
    data = whole(servo)
    assert data.action == FeatureSpec(shape=(1,))
    assert data.frames().action[:, 0].tolist() == [600.0, 1800.0, 3000.0, 2400.0]
    # The env counts from -1, and nobody demonstrated 0.
    data = whole(np.array([-1, 1, 1, -1]), classes=(-1, 1))
    assert data.action == discrete_spec(3, start=-1)
    assert data.frames().action[:, 0].tolist() == [-1, 1, 1, -1]
    # pandas makes floats of an integer column with a gap.
    assert whole(np.array([1.0, 2.0, 3.0, 1.0]), classes=(1, 3)).action == discrete_spec(3, start=1)
    with pytest.raises(DataError, match=r"got: +4, first at index \[3, 0\]\n +expected: +.*1 to 3"):
        whole(np.array([1, 2, 3, 4]), classes=(1, 3))


def test_a_file_may_say_what_its_choices_are(tmp_path: Path) -> None:
    arrays = {"observation": np.zeros((3, 1)), "action": np.array([5, 6, 5]), "episode_ends": np.array([3])}
    np.savez(tmp_path / "own.npz", **arrays, classes=np.array([5, 8]))
    assert open_npz(tmp_path / "own.npz", control_dt=0.1).action == discrete_spec(4, start=5)


RGB = np.random.default_rng(0).integers(0, 256, (6, 24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["observation", "observation.front", "observation.images.front"])
@pytest.mark.parametrize("stored", [RGB, RGB.transpose(0, 3, 1, 2), (RGB / 255).astype(np.float32)])
def test_pictures_become_pictures_whatever_their_layout(
    tmp_path: Path, name: str, stored: np.ndarray
) -> None:
    np.savez(tmp_path / "own.npz", **{name: stored}, action=np.zeros((6, 1)), episode_ends=np.array([6]))
    data = open_npz(tmp_path / "own.npz", control_dt=0.1)
    called = "observation.images.main" if name == "observation" else "observation.images.front"
    assert data.observation == {called: image_spec(24, 32, 3)}
    np.testing.assert_array_equal(data.frames().observation[called], RGB)


def test_a_refused_picture_is_named_with_its_file(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "atari.npz",
        observation=np.zeros((6, 4, 84, 84), np.uint8),
        action=np.zeros((6, 1)),
        episode_ends=np.array([6]),
    )
    with pytest.raises(DataError, match=r"(?s)atari.npz: observation.state .*n_obs_steps"):
        open_npz(tmp_path / "atari.npz", control_dt=0.1)


def test_whole_numbers_of_a_lerobot_set_are_choices_only_where_it_is_said(tmp_path: Path) -> None:
    spec = {"observation.state": FeatureSpec(shape=(2,))}
    with EpisodeStore.create(
        tmp_path / "own", observation=spec, action=discrete_spec(4, start=-1), control_dt=0.1
    ) as store:
        action = np.array([[-1], [1], [1]])
        store.append(
            demonstration({"observation.state": np.zeros((3, 2), np.float32)}, action, control_dt=0.1)
        )
        store.compact()
    own = open_dataset(tmp_path / "own")
    assert own.action == discrete_spec(4, start=-1), "a store says it itself, and 0 and 2 were never shown"
    assert own.frames().action.tolist() == action.tolist()
    with pytest.raises(DataError, match="says itself what its action is"):
        open_dataset(tmp_path / "own", classes=(0, 2))
    shutil.rmtree(tmp_path / "own" / "meta" / "steadyhand")
    foreign = open_dataset(tmp_path / "own")
    assert foreign.action == FeatureSpec(shape=(1,))
    assert foreign.frames().action.tolist() == [[-1.0], [1.0], [1.0]]
    told = open_dataset(tmp_path / "own", classes=(-1, 2))
    assert told.action == discrete_spec(4, start=-1)
    assert told.frames().action.dtype == np.int64
    with pytest.raises(SpecError, match=r"episode 0 .*classes"):
        open_dataset(tmp_path / "own", classes=(-1, 0)).frames()


def test_step_types_and_the_names_of_d4rl_are_understood(tmp_path: Path) -> None:
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    kinds = np.array([0, 1, 2, 0, 2, 0, 1])  # the last episode was cut
    ends = np.array([0, 0, 1, 0, 0, 0, 0], dtype=np.float32)
    np.savez(tmp_path / "a.npz", observations=values, actions=values + 1, terminals=ends, step_type=kinds)
    data = open_npz(tmp_path / "a.npz", control_dt=0.1)
    assert data.lengths.tolist() == [3, 2, 2]
    assert [one.terminated for one in data.all_episodes] == [True, False, False]
    np.testing.assert_array_equal(data.episode(1).action, values[3:5] + 1)
    goes_on = np.array([0, 2, 1, 0, 2, 0, 1])
    unknown = np.array([0, 1, 2, 0, 3, 0, 1])
    for wrong in (kinds[:-1], kinds[1:], kinds + 1, np.full(7, 3), goes_on, unknown):
        np.savez(tmp_path / "b.npz", observations=values, actions=values, step_type=wrong)
        with pytest.raises(DataError, match="step_type"):
            open_npz(tmp_path / "b.npz", control_dt=0.1)


def test_a_damaged_episode_is_named_and_may_be_left_out(tmp_path: Path) -> None:
    values = np.arange(14, dtype=np.float32).reshape(7, 2)
    values[4, 1] = np.nan
    ends = np.array([3, 5, 7])
    np.savez(tmp_path / "a.npz", observation=values, action=np.zeros((7, 2)), episode_ends=ends)
    with pytest.raises(DataError, match="Episode 1 is damaged") as error:
        open_npz(tmp_path / "a.npz", control_dt=0.1)
    assert "--episodes '!1'" in str(error.value)
    data = open_npz(tmp_path / "a.npz", control_dt=0.1, episodes="!1")
    assert data.numbers.tolist() == [0, 2]
    np.testing.assert_array_equal(data.episode(1).observation["observation.state"], values[5:])


@pytest.mark.parametrize(
    ("name", "rename", "episodes", "steps"),
    [
        ("ccil/ccil_f1tenth", {}, 1, 800),
        ("ccil/ccil_hopper", {}, 25, 24_155),
        ("ccil/ccil_pendulum", {}, 25, 25_000),
        ("ccil/ccil_walker", {}, 20, 20_000),
        ("dapg-adroit-door/door_v0_human", {}, 25, 6_729),
        ("ibc-d4rl-human/door_human_v0", {}, 11, 1_700),
        ("ibc-d4rl-human/kitchen_complete_v0", {}, 4, 755),
        ("imitation-rollouts/cartpole", {}, 57, 26_964),
        ("imitation-rollouts/pendulum", {}, 56, 11_200),
        ("mujoco-experts/demos_Walker2d_v4", {}, 2, 2_000),
        ("bridge-debug-octo/bridge_25", {"state": "observation"}, 25, 250),
        (
            "ocr-letters/letters_ocr",
            {"pixels": "observation", "label": "action", "word_ends": "episode_ends"},
            6_877,
            52_152,
        ),
    ],
)
def test_real_sets_open(
    shared_data: Path, name: str, rename: dict[str, str], episodes: int, steps: int
) -> None:
    data = open_npz(shared_data / f"{name}.npz", control_dt=0.05, rename=rename)
    assert (data.num_episodes, data.num_frames) == (episodes, steps)
    assert len(data.frames()) == steps


def test_the_changes_that_float32_loses_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    seconds = 1_600_000_007.0 + np.arange(300)  # float32 tells multiples of 128 there
    lost = sum(np.float32(a) == np.float32(b) for a, b in pairwise(seconds))
    assert lost == 299 - 2
    episodes_from_arrays({"observation.clock": seconds}, np.zeros((300, 1)), np.array([300]), control_dt=0.1)
    assert f"makes {lost} of 299 changes" in caplog.text
