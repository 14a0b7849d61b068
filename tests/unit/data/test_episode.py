"""Episodes, and their steps end to end: what must fit, what is cut out of them, and what tells two apart."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from steadyhand.core.errors import DataError, SpecError
from steadyhand.core.protocol import Actor
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.digests import episodes_digest, frames_digest
from steadyhand.data.episode import (
    STEP_COLUMNS,
    Branch,
    Episode,
    EpisodeOrigin,
    branch_rows,
    demonstration,
    runs_of,
    texts_of,
)
from steadyhand.data.frames import Frames, Windower, WindowSpec, numbered_tasks
from steadyhand.data.pictures import resized
from toy_episodes import ACTION_SPEC, OBSERVATION, episode

STATE, GRID, TOP = "observation.state", "observation.grid", "observation.images.top"


def test_runs_and_texts_are_each_other_s_inverse() -> None:
    texts = ("a", "a", "b", "a")
    assert runs_of(texts) == (("a", 2), ("b", 1), ("a", 1))
    assert texts_of(runs_of(texts)) == texts


def test_rows_of_branches_are_pairs() -> None:
    assert branch_rows([None, Branch(parent=3, step=5)]).tolist() == [[-1, -1], [3, 5]]
    assert branch_rows([]).shape == (0, 2)
    assert branch_rows([]).dtype == np.int64


WRONG: dict[str, tuple[Callable[[Episode], dict[str, Any]], str]] = {
    "an observation": (
        lambda one: {"observation": {**one.observation, GRID: one.observation[GRID][1:]}},
        f"{GRID} does not have one entry for each action",
    ),
    "dtype": (lambda one: {"expert_action": one.expert_action.astype("f8")}, "must look like action"),
    "label": (lambda one: {"expert_action_valid": np.zeros(3, dtype=bool)}, "must repeat action"),
    "number of tasks": (lambda one: {"step_tasks": (one.task,) * 2}, "step_tasks needs a text"),
    "first task": (lambda one: {"step_tasks": ("other", one.task, one.task)}, "step_tasks needs a text"),
    "no time": (lambda _: {"control_dt": 0.0}, "must be positive"),
    "no end of time": (lambda _: {"control_dt": math.inf}, "must be positive"),
    "final": (lambda one: {"final_observation": {STATE: one.observation[STATE][0]}}, "other features"),
    "branch": (lambda _: {"branch": Branch(parent=0, step=0)}, "one step long"),
    "steps": (
        lambda one: {
            "observation": {name: value[:0] for name, value in one.observation.items()},
            **{name: getattr(one, name)[:0] for name in STEP_COLUMNS},
        },
        "has no steps",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_an_episode_is_refused(name: str) -> None:
    sound = episode(1, length=3)
    change, match = WRONG[name]
    with pytest.raises(DataError, match=match):
        replace(sound, **change(sound))


def test_what_fits_is_an_episode() -> None:
    one = episode(0, length=1, branch=Branch(parent=2, step=7))
    assert len(one) == 1
    assert list(one.columns)[-2:] == list(OBSERVATION)
    assert len(one.columns) == 9
    assert one.task_runs == ((one.task, 1),)
    tasks = ("reach", "push", "push")
    several = replace(episode(0, length=3), step_tasks=tasks)
    assert several.task_runs == (("reach", 1), ("push", 2))
    assert [several.task_at(step) for step in range(3)] == list(tasks)
    labelled = replace(
        several, expert_action_valid=np.array([True, False, True]), action=several.expert_action
    )
    assert labelled.num_labels == 2


def test_features_are_left_out_and_put_in_order() -> None:
    one = episode(1)
    assert one.with_features([STATE, GRID]) is one
    turned = one.with_features([GRID, STATE])
    assert list(turned.observation) == [GRID, STATE]
    alone = one.with_features([GRID])
    assert one.final_observation is not None
    assert alone.final_observation is not None
    assert list(alone.observation) == list(alone.final_observation) == [GRID]
    np.testing.assert_array_equal(alone.final_observation[GRID], one.final_observation[GRID])
    assert replace(one, final_observation=None).with_features([GRID]).final_observation is None


def test_a_demonstration_is_the_expert_s_own() -> None:
    seen = {STATE: np.zeros((3, 2), np.float32)}
    choice = demonstration(seen, np.array([2, 0, 1]), control_dt=0.1)
    assert choice.action.tolist() == choice.expert_action.tolist() == [[2], [0], [1]]
    assert choice.reward.tolist() == [0.0, 0.0, 0.0]
    assert choice.actor.tolist() == [Actor.EXPERT] * 3
    assert choice.provenance == EpisodeOrigin(source="demonstration")
    assert (choice.num_labels, choice.weight.tolist(), choice.intervention.any()) == (3, [1.0] * 3, False)
    told = demonstration(
        seen,
        np.ones((3, 4), np.float32),
        control_dt=0.1,
        reward=np.array([1, 2, 3]),
        provenance=EpisodeOrigin(seed=5),
        weight=0.5,
    )
    assert told.action.shape == (3, 4)
    assert (told.reward.dtype, told.reward.tolist()) == (np.float32, [1.0, 2.0, 3.0])
    assert (told.provenance, told.weight.tolist()) == (EpisodeOrigin(seed=5), [0.5] * 3)


def frames_of(*lengths: int, branches: tuple[Branch, ...] = ()) -> Frames:
    episodes = [episode(seed, length=length) for seed, length in enumerate(lengths)]
    episodes += [episode(9, length=1, branch=branch) for branch in branches]
    return Frames.from_episodes(episodes, observation_spec=OBSERVATION, action_spec=ACTION_SPEC)


@pytest.mark.parametrize("ends", [[], [2, 2, 4], [3, 2, 4], [0, 4], [1, 3], [1, 5], [-1, 4]])
def test_ends_that_do_not_add_up_are_refused(ends: list[int]) -> None:
    frames = frames_of(1, 3)

    def cut(ends: list[int]) -> Frames:
        return replace(frames, episode_ends=np.array(ends, np.int64), branch=branch_rows([None] * len(ends)))

    with pytest.raises(DataError, match="do not add up"):
        cut(ends)
    for sound in ([1, 4], [4], [1, 2, 4], [1, 2, 3, 4]):
        assert cut(sound).num_episodes == len(sound)


def test_several_tasks_need_an_index_and_one_has_none() -> None:
    frames, index = frames_of(2), np.array([0, 1])
    for tasks, given in (((), None), (("a",), None), (("a", "b"), index), (("a", "b", "c"), index)):
        assert replace(frames, tasks=tasks, task_index=given).tasks == tasks
        with pytest.raises(DataError, match="need a task_index"):
            replace(frames, tasks=tasks, task_index=index if given is None else None)


def test_steps_belong_to_their_episodes_and_tasks() -> None:
    frames = frames_of(2, 3, 1)
    assert frames.episode_starts.tolist() == [0, 2, 5]
    assert frames.episode_of.tolist() == [0, 0, 1, 1, 1, 2]
    assert frames.steps_of(np.array([2, 0])).tolist() == [0, 1, 5]
    assert frames.tasks == ("reach", "push the block")
    assert frames.task_index is not None
    assert frames.task_index.tolist() == [0, 0, 1, 1, 1, 0]
    assert frames.steps_by_task == {"reach": 3, "push the block": 3}
    assert replace(frames, tasks=("reach",), task_index=None).steps_by_task == {"reach": 6}
    tasks, index = numbered_tasks([("b", 1), ("a", 2), ("b", 3)])
    assert (tasks, None if index is None else index.tolist()) == (("b", "a"), [0, 1, 1, 0, 0, 0])
    assert numbered_tasks([("b", 1), ("b", 2)]) == (("b",), None)
    assert numbered_tasks([]) == ((), None)


def test_only_episodes_that_fit_are_laid_end_to_end() -> None:
    with pytest.raises(DataError, match="no episodes"):
        Frames.from_episodes([], observation_spec=OBSERVATION, action_spec=ACTION_SPEC)
    one = episode(0)
    with pytest.raises(DataError) as refusal:
        Frames.from_episodes(
            [one, one.with_features([STATE])], observation_spec=OBSERVATION, action_spec=ACTION_SPEC
        )
    assert GRID in str(refusal.value)
    kept = Frames.from_episodes([one], observation_spec={GRID: OBSERVATION[GRID]}, action_spec=ACTION_SPEC)
    assert list(kept.observation) == [GRID]
    wide = FeatureSpec(shape=(5,))
    for seen, done, name in (({STATE: wide}, ACTION_SPEC, STATE), (OBSERVATION, wide, "action")):
        with pytest.raises(SpecError, match=name):
            Frames.from_episodes([one], observation_spec=seen, action_spec=done)


def test_pictures_are_made_smaller_and_nothing_else_is() -> None:
    specs = {TOP: image_spec(4, 6, 3), GRID: OBSERVATION[GRID]}
    one = episode(0, specs=specs)
    frames = Frames.from_episodes([one], observation_spec=specs, action_spec=ACTION_SPEC)
    assert frames.with_pictures(None) is frames
    small = frames.with_pictures((2, 3))
    np.testing.assert_array_equal(small.observation[TOP], resized(one.observation[TOP], (2, 3)))
    np.testing.assert_array_equal(small.observation[GRID], one.observation[GRID])


def test_a_branch_past_the_end_is_named_by_its_number() -> None:
    good, bad = Branch(parent=0, step=1), Branch(parent=1, step=5)
    with pytest.raises(DataError, match="Branch episode 3 points past") as refusal:
        Windower(frames_of(2, 3, branches=(good, bad)), WindowSpec())
    assert (refusal.value.rest["got"], refusal.value.rest["expected"]) == (5, "< 3")


def changed(frames: Frames) -> dict[str, Frames]:
    """Return frames that differ in one thing each."""
    arrays = ("action", "expert_action", "weight")
    out = {name: replace(frames, **{name: getattr(frames, name) + 1}) for name in arrays}
    seen = dict(frames.observation)
    out |= {name: replace(frames, observation={**seen, name: seen[name] + 1}) for name in seen}
    spec = {**frames.observation_spec, GRID: FeatureSpec(shape=(2, 4), low=(-9.0,) * 8)}
    out["control_dt"] = replace(frames, control_dt=0.2)
    out["observation_spec"] = replace(frames, observation_spec=spec)
    out["action_spec"] = replace(frames, action_spec=FeatureSpec(shape=(2,)))
    out["episode_ends"] = replace(frames, episode_ends=np.array([1, 5, 6]))
    out["branch"] = replace(frames, branch=np.array([[-1, -1], [-1, -1], [0, 0]]))
    return out


def test_whatever_training_reads_tells_two_data_sets_apart() -> None:
    frames = frames_of(2, 3, branches=(Branch(parent=0, step=1),))
    digest = frames_digest(frames)
    assert (digest["episodes"], digest["steps"]) == (3, 6)
    assert digest == frames_digest(frames_of(2, 3, branches=(Branch(parent=0, step=1),)))
    digests = {name: frames_digest(other)["sha256"] for name, other in changed(frames).items()}
    digests |= {
        "kind": frames_digest(frames, kind=np.zeros(6, np.int64))["sha256"],
        "other kind": frames_digest(frames, kind=np.ones(6, np.int64))["sha256"],
        "one feature": frames_digest(frames, features=[STATE])["sha256"],
        "": digest["sha256"],
    }
    chosen = frames_digest(frames, steps=np.array([4, 1]))
    assert chosen["steps"] == 2
    digests["steps"] = chosen["sha256"]
    assert len(set(digests.values())) == len(digests)
    unread = {
        name: frames_digest(other, features=[STATE])["sha256"] for name, other in changed(frames).items()
    }
    assert [name for name, value in unread.items() if value == digests["one feature"]] == [
        *(GRID, "observation_spec")
    ]


def test_whatever_an_episode_holds_tells_two_apart() -> None:
    one = episode(1, length=1)
    shift = {name: getattr(one, name) + 1 for name in ("reward", "weight", "actor")}
    others = [replace(one, **{name: value}) for name, value in shift.items()]
    others += [
        replace(one, action=one.action + 1, expert_action=one.expert_action + 1),
        replace(one, observation={**one.observation, GRID: one.observation[GRID] + 1}),
        replace(one, final_observation=None),
        replace(one, final_observation={n: v + 1 for n, v in (one.final_observation or {}).items()}),
        replace(one, terminated=not one.terminated),
        replace(one, truncated=not one.truncated),
        replace(one, success=None),
        replace(one, task="other"),
        replace(one, control_dt=0.3),
        replace(one, provenance=EpisodeOrigin(seed=4)),
        replace(one, branch=Branch(parent=0, step=0)),
    ]
    digests = [episodes_digest([other])["sha256"] for other in (one, *others)]
    assert len(set(digests)) == len(digests)
    told = episodes_digest([one, episode(2, length=4)])
    assert (told["episodes"], told["steps"]) == (2, 5)
    assert episodes_digest([episode(1, length=1)])["sha256"] == digests[0]
