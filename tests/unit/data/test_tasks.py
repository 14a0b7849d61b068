"""The task of a step is what its row says, not what the metadata list first."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_folders import STATE, rows, write_v21, write_v30
from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.info import summarise
from steadyhand.data.store import EpisodeStore

PICK_THEN_PLACE = np.r_[np.ones(5), np.zeros(7)].astype(np.int64)
TEXTS = ("pick",) * 5 + ("place",) * 7


@pytest.mark.parametrize("write", [write_v21, write_v30])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_every_step_has_the_task_of_its_row(tmp_path: Path, write: Any, dtype: type) -> None:
    both = {"task_index": PICK_THEN_PLACE.astype(dtype), "tasks": ["place", "pick"]}
    episodes = [rows(0, **both), rows(1, task_index=np.ones(12, dtype=dtype), tasks=["pick"])]
    dataset = open_dataset(write(tmp_path / "d", episodes, tasks=("place", "pick")))
    assert dataset.tasks == ("place", "pick")
    assert dataset.task_of_step(0) == TEXTS
    assert dataset.task_of_step(1) == ("pick",) * 12
    first, second = dataset.episodes()
    assert (first.task, first.step_tasks) == ("pick", TEXTS)
    assert [first.task_at(step) for step in (4, 5)] == ["pick", "place"]
    assert (second.task, second.step_tasks) == ("pick", ())
    frames = dataset.frames()
    assert [frames.tasks[number] for number in frames.task_index] == [*TEXTS, *("pick",) * 12]
    assert frames.steps_by_task == {"pick": 17, "place": 7}
    assert summarise(dataset).tasks == {"place": 1, "pick": 2}


def test_one_task_needs_no_numbers(tmp_path: Path) -> None:
    frames = open_dataset(write_v30(tmp_path / "d", [rows(0), rows(1)])).frames()
    assert frames.tasks == ("lift",)
    assert frames.task_index is None
    assert frames.steps_by_task == {"lift": 24}


def test_a_task_without_a_text_is_refused_by_name(tmp_path: Path) -> None:
    number = np.where(np.arange(12) == 9, 2, 0)
    dataset = open_dataset(write_v30(tmp_path / "d", [rows(0), rows(1, task_index=number)], tasks="ab"))
    with pytest.raises(DataError, match=r"2 in step 9 of episode 1"):
        dataset.frames()


def test_a_recording_keeps_several_tasks_of_an_episode(tmp_path: Path) -> None:
    seen = {STATE: np.zeros((12, 2), dtype=np.float32)}
    plain = demonstration(seen, np.ones((12, 2), dtype=np.float32), control_dt=0.1, task="pick")
    both = replace(plain, step_tasks=TEXTS)
    with EpisodeStore.create(
        tmp_path / "d",
        observation={STATE: FeatureSpec(shape=(2,))},
        action=FeatureSpec(shape=(2,)),
        control_dt=0.1,
    ) as store:
        store.append(plain)
        store.append(both)
        for compacted in (False, True):
            if compacted:
                store.compact()
            dataset = open_dataset(tmp_path / "d")
            assert dataset.task_of_step(0) == ("pick",) * 12
            assert dataset.episode(1).step_tasks == TEXTS
            assert dataset.tasks == ("pick", "place")
            assert dataset.frames().steps_by_task == {"pick": 17, "place": 7}


def test_step_tasks_must_fit_the_episode() -> None:
    seen = {STATE: np.zeros((3, 2), dtype=np.float32)}
    plain = demonstration(seen, np.ones((3, 2), dtype=np.float32), control_dt=0.1, task="pick")
    for tasks in (("pick",) * 2, ("place",) * 3):
        with pytest.raises(DataError, match="step_tasks"):
            replace(plain, step_tasks=tasks)


@pytest.mark.parametrize("name", ["observation.state", "action", "reward"])
def test_the_first_step_that_holds_no_number_is_named(name: str) -> None:
    columns = {"observation.state": np.zeros((9, 2)), "action": np.zeros((9, 2)), "reward": np.zeros(9)}
    columns = {key: value.astype(np.float32) for key, value in columns.items()}
    columns[name].reshape(9, -1)[[4, 6], -1] = np.nan, np.inf
    zeros = np.zeros((9, 2), np.float32)
    sound = demonstration({STATE: zeros}, zeros, control_dt=0.1)
    with pytest.raises(DataError, match=f"{name} holds NaN") as refusal:
        replace(sound, observation={STATE: columns.pop(STATE)}, **columns)
    assert refusal.value.rest["got"] == "first at step 4 of 9"
