"""Flat arrays against plain slicing, and the rollouts of the `imitation` library."""

import os
import re
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


GOOD = {"observation": np.zeros((6, 2)), "action": np.zeros((6, 1)), "episode_ends": np.array([2, 6])}
WHOLE = np.zeros(6, dtype=np.int64)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"observation": np.zeros((7, 2))}, "has the wrong number of rows"),
        ({"observation": np.zeros((9, 2))}, "has the wrong number of rows"),
        ({"observation": np.full((6, 2), np.nan)}, "Episode 0 is damaged"),
        ({"observation": np.array(["a"] * 6)}, "observation.state does not hold numbers"),
        ({"observation": np.array(1.0)}, "observation.state has no values for a step"),
        ({"observation": np.zeros((6, 0))}, "observation.state has no values for a step"),
        ({"observation": np.zeros((6, 2, 0))}, "observation.state has no values for a step"),
        ({"observation.a/b": np.zeros((6, 2))}, "name that cannot be used"),
        ({"observation.state": np.zeros((6, 2))}, "would have the same name"),
        ({"episode_ends": np.array([2, 4])}, "do not add up"),
        ({"episode_ends": np.array([2, 7])}, "do not add up"),
        ({"episode_ends": np.array([4, 2, 6])}, "do not add up"),
        ({"episode_ends": np.array([2, 2, 6])}, "do not add up"),
        ({"episode_ends": np.array([0, 6])}, "do not add up"),
        ({"episode_ends": np.array([2.0, 6.0])}, "must be integers"),
        ({"episode_ends": np.array([[2, 6]])}, "must be integers"),
        ({"episode_ends": np.array(6)}, "must be integers"),
        ({"episode_ends": WHOLE[:0]}, "must be integers"),
        ({"reward": np.zeros(5)}, "reward has the wrong shape"),
        ({"reward": np.zeros((6, 1))}, "reward has the wrong shape"),
        ({"reward": np.array(["a"] * 6)}, "reward does not hold numbers"),
        ({"reward": np.ones(6) * 1j}, "reward does not hold numbers"),
        ({"terminated": np.zeros(3, dtype=bool)}, "terminated has the wrong shape"),
        ({"terminated": np.array([0, 2])}, "terminated holds neither bools nor 0 and 1"),
        ({"terminated": np.array([0.0, np.nan])}, "terminated holds NaN"),
        ({"success": np.array([0.5, 1.0])}, "success holds neither bools nor 0 and 1"),
        ({"success": np.array(["yes", "no"])}, "success holds neither bools nor 0 and 1"),
        ({"success": np.zeros(6)}, "success has the wrong shape"),
        ({"action": np.array(1.0)}, "action has no values for a step"),
        ({"action": np.zeros((6, 0))}, "action has no values for a step"),
        ({"action": np.zeros((6, 2, 2))}, "must have the shape"),
        ({"action": np.array([0, 1, -1, 0, 0, 0]), "classes": np.array([0, 1])}, "-1, first at index"),
        ({"action": np.array([0, 1, 0.5, 0, 0, 0]), "classes": np.array([0, 1])}, "first in row 2"),
        ({"action": WHOLE.repeat(2).reshape(6, 2), "classes": np.array([0, 1])}, "2 numbers a step"),
        ({"action": WHOLE, "classes": np.array([0.0, 1.0])}, "classes must be two integers"),
        ({"action": WHOLE, "classes": np.array([0, 1, 2])}, "classes must be two integers"),
        ({"action": WHOLE, "classes": np.array([2, 0])}, "2.*0"),
        ({"action": WHOLE, "classes": np.array([0, 10**12])}, "1000000000000"),
        ({"observation.images.front": np.zeros((6, 4, 84, 84), np.uint8)}, "cannot be read as pictures"),
        ({"observation.images.front": np.zeros((6, 20, 24)) - 1}, "its range of values is no picture's"),
        ({"observation.images.front": np.zeros((6, 20, 24)) + 300}, "its range of values is no picture's"),
        (
            {"observation.images.front": 511.0 * np.eye(24)[:6, None] + np.zeros((6, 24, 24))},
            "its range of values",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: dict[str, np.ndarray], what: str) -> None:
    np.savez(tmp_path / "bad.npz", **(GOOD | change))
    with pytest.raises(DataError, match=r"bad\.npz") as error:
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    assert re.search(what, str(error.value))


def test_what_is_absent_is_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", action=GOOD["action"])
    with pytest.raises(DataError, match=r"(?s)lacks arrays.*expected: +also observation .*, episode_ends"):
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    np.savez(tmp_path / "bad.npz", observation=GOOD["observation"], indices=np.array([2]))
    with pytest.raises(DataError, match=r"lacks arrays") as error:
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    assert error.value.rest["expected"] == "also action"


class Surprise:
    """What a pickle may do to whoever reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (os.environ["SURPRISE"],))


def test_files_are_never_unpickled_and_damage_is_told_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURPRISE", str(tmp_path / "surprise"))
    np.savez(tmp_path / "bad.npz", **(GOOD | {"observation": np.array([Surprise()] * 6, dtype=object)}))
    with pytest.raises(DataError, match="cannot be read as npz") as error:
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    assert error.value.rest["hint"] == "save plain number arrays, no objects"
    assert not (tmp_path / "surprise").exists()
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match="cannot be read as npz") as error:
        open_npz(tmp_path / "bad.npz", control_dt=0.1)
    assert error.value.rest["hint"] == "restore it from a copy"
    np.save(tmp_path / "one.npy", np.zeros(3))
    for path, what in (
        (tmp_path / "absent.npz", "is missing"),
        (tmp_path, "is no file"),
        (tmp_path / "one.npy", "one array, not several"),
    ):
        with pytest.raises(DataError, match=what):
            open_npz(path, control_dt=0.1)


def test_names_of_others_give_way_to_ours(tmp_path: Path) -> None:
    both = {**GOOD, "obs": np.ones((6, 2)), "acts": np.ones((6, 1)), "terminals": np.array([1, 0])}
    np.savez(tmp_path / "a.npz", **both)
    data = open_npz(tmp_path / "a.npz", control_dt=0.1)
    assert data.unread == ("obs", "acts")
    assert data.frames().action.tolist() == [[0.0]] * 6
    assert [one.terminated for one in data.all_episodes] == [True, False]
    data = open_npz(tmp_path / "a.npz", control_dt=0.1, rename={"action": "old", "observation": "seen"})
    assert data.unread == ("seen", "old")
    assert data.frames().action.tolist() == [[1.0]] * 6
    with pytest.raises(DataError, match="would have the same name"):
        open_npz(tmp_path / "a.npz", control_dt=0.1, rename={"acts": "action"})
    with pytest.raises(DataError, match="no such array") as error:
        open_npz(tmp_path / "a.npz", control_dt=0.1, rename={"obs": "x", "nothing": "action"})
    assert error.value.rest["got"] == "nothing"
    assert "a.npz" in error.value.what


def test_a_final_row_counts_where_every_feature_has_one() -> None:
    ends, action = np.array([2, 3, 5]), np.arange(5.0)
    rows = np.arange(8, dtype=np.float32)  # a row a step, and one after the last of each episode
    columns = {"observation.a": rows, "observation.b": rows[:, None] + 10}
    last = [
        one.final_observation
        for one in episodes_from_arrays(columns, action, ends, control_dt=0.1).all_episodes
    ]
    assert [{name: value.tolist() for name, value in (one or {}).items()} for one in last] == [
        {"observation.a": [at], "observation.b": [at + 10]} for at in (2.0, 4.0, 7.0)
    ]
    columns["observation.b"] = columns["observation.b"][:5]
    data = episodes_from_arrays(columns, action, ends, control_dt=0.1, reward=action + 20, episodes=[0, 2])
    assert data.observation == dict.fromkeys(columns, FeatureSpec(shape=(1,)))
    assert [one.final_observation for one in data.all_episodes] == [None, None]
    first, second = data.all_episodes
    assert second.observation["observation.a"].tolist() == [[5.0], [6.0]]
    assert second.observation["observation.b"].tolist() == [[13.0], [14.0]]
    assert (first.action.tolist(), first.reward.tolist()) == ([[0.0], [1.0]], [20.0, 21.0])
    assert (second.action.tolist(), second.reward.tolist()) == ([[3.0], [4.0]], [23.0, 24.0])
    assert data.numbers.tolist() == [0, 2]
    with pytest.raises(DataError, match="no such observation"):
        data.frames(["observation.c"])


def test_an_action_of_texts_or_of_nothing_is_refused() -> None:
    for action in (np.array(["a"] * 3), np.array(1.0)):
        with pytest.raises(DataError, match=r"^action"):
            episodes_from_arrays({"observation.state": np.zeros(3)}, action, np.array([3]), control_dt=0.1)


def test_two_arrays_are_not_one_feature() -> None:
    pictures = np.zeros((3, 20, 24), dtype=np.uint8)
    with pytest.raises(DataError, match="the same feature"):
        episodes_from_arrays(
            {"observation.top": pictures, "observation.images.top": pictures},
            np.zeros((3, 1)),
            np.array([3]),
            control_dt=0.1,
        )


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
