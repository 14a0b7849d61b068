"""Offline remedies: what they ask, fit and refuse, around a learner that is a line through the origin."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from line_learner import Line, Shown
from plane_env import Homing, Plane
from point_env import Halving, PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.correction.budget import Budget
from steadyhand.correction.ccil_config import CcilConfig, KeepAll
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.gated_remedies import DiffDagger, Eil, HgDagger, SafeDagger, ThriftyDagger
from steadyhand.correction.human import HumanGate, RoadEdge, SimulatedHuman
from steadyhand.correction.noise import OrnsteinUhlenbeck
from steadyhand.correction.offline import Cloning, NoiseBC, NoiseInjection
from steadyhand.correction.remedy import Task
from steadyhand.correction.rounds import round_starts
from steadyhand.correction.view_config import AlvinnViews
from steadyhand.data.episode import Branch, Episode, demonstration
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.dynamics_config import DynamicsConfig, Unlimited
from steadyhand.policies.heads.config import Judgement
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicySpec
from steadyhand.training.config import TrainConfig

SPEC = Shown.policy_spec


def seen_by(learner: Shown, spec: PolicySpec) -> Shown:
    learner.policy_spec = spec
    return learner


def task(folder: Path, **changes) -> Task:
    made = Task(
        env=PointEnv(4), expert=Halving(), learner=Shown(), folder=folder, seed=5, key="me", initial=()
    )
    return replace(made, **changes)


def line(folder: Path) -> dict:
    return json.loads((folder / "line.json").read_text())


def one_step(**changes) -> Episode:
    x = np.full((1, 1), 0.3, dtype=np.float32)
    return replace(demonstration({STATE: x}, -0.5 * x, control_dt=0.1), **changes)


def test_labels_are_asked_once_and_fitted_as_often_as_wanted(tmp_path):
    """10 labels over 4 drives, one after the other: 3 steps each at most."""
    expert, remedy = Halving(), Cloning(num_labels=10, num_episodes=4)
    taught = remedy.teach(task(tmp_path, env=PointEnv(1), expert=expert, fits=3))
    assert (taught.labels, taught.trained_labels, taught.burden.labels) == (10, 10, 10)
    assert taught.fits == (tmp_path, tmp_path / "fit-1", tmp_path / "fit-2")
    assert [line(folder)["n"] for folder in taught.fits] == [10] * 3
    assert len({line(folder)["seed"] for folder in taught.fits}) == 3
    assert sorted(len(np.load(path)["x"]) for path in (tmp_path / "episodes").iterdir()) == [1, 3, 3, 3]
    asked = expert.num_queries
    again = remedy.teach(task(tmp_path, env=PointEnv(1), expert=expert, fits=3))
    assert expert.num_queries == asked
    assert again.labels == 10


@dataclass(frozen=True, kw_only=True)
class Doubled(Cloning):
    """Two branches are collected with the drives, and one more is made of them."""

    def collect(self, task: Task) -> list[Episode]:
        return [*super().collect(task), *[one_step(branch=Branch(parent=0, step=0))] * 2]

    def synthetic(self, episodes, task, learner) -> Sequence[Episode]:
        return [replace(episodes[-1], branch=Branch(parent=1, step=0))]


def test_branches_are_trained_on_and_count_for_nothing(tmp_path):
    taught = Doubled(num_labels=10, num_episodes=4).teach(task(tmp_path))
    assert (taught.labels, taught.trained_labels, taught.burden.labels) == (10, 10, 10)
    assert line(tmp_path)["n"] == 10 + 3


def test_the_first_starts_are_the_same_for_all_remedies(tmp_path):
    starts = Cloning(num_labels=10, num_episodes=4).starts(task(tmp_path))
    assert len(starts) == 14
    rounds = DaggerConfig(labels_per_round=4, episodes_per_round=2)
    assert starts[:6] == round_starts(PointEnv(4), rounds, round=1, seed=5)


def test_a_budget_of_rounds_is_spent_at_once():
    budget = Budget(labels=60, rounds=3, episodes=4, long_episodes=7, sigma=0.2, input_sigma=0.4)
    assert Cloning.from_budget(budget) == Cloning(num_labels=60, num_episodes=12)
    assert NoiseBC.from_budget(budget) == NoiseBC(num_labels=60, num_episodes=12, sigma=0.4)
    assert NoiseInjection.from_budget(budget) == NoiseInjection(
        num_labels=60, num_episodes=7, noise=OrnsteinUhlenbeck(sigma=0.2)
    )


CLASSES = PolicySpec(observation={STATE: FeatureSpec(shape=(2,))}, action=discrete_spec(3), control_dt=0.1)
PICTURED = replace(SPEC, observation={**SPEC.observation, IMAGES + "front": image_spec(4, 4, 3)})
CAR = CarConfig(observation=("state",), num_tracks=2)
NOISY = Shown()
NOISY.policy_config = replace(Shown.policy_config, input_noise=0.1)
AT_THE_EDGE = HgDagger(gate=HumanGate(human=SimulatedHuman(risk=RoadEdge())))


@pytest.mark.parametrize(
    ("remedy", "learner", "error", "words"),
    [
        (NoiseBC(), Line(), CapabilityError, "which this learner does not show"),
        (NoiseBC(), NOISY, ConfigError, "input noise of its own"),
        (Eil(), Shown(), CapabilityError, "cannot judge"),
        (AT_THE_EDGE, Line(), CapabilityError, "where the car is on the road"),
        (SafeDagger(), Line(), CapabilityError, "which this learner does not show"),
        (ThriftyDagger(), Line(), CapabilityError, "which this learner does not show"),
        (DiffDagger(), Line(), CapabilityError, "which this learner does not show"),
        (AlvinnViews(), Shown(), CapabilityError, "no displaced views"),
        (CcilConfig(), Line(), CapabilityError, "which this learner does not show"),
        (CcilConfig(), seen_by(Shown(), PICTURED), CapabilityError, "the policy sees others as well"),
        (CcilConfig(label="disturbed"), seen_by(Shown(), CLASSES), CapabilityError, "cannot be disturbed"),
        (Cloning(), Line(), None, ""),
        (NoiseBC(), Shown(), None, ""),
        (HgDagger(), Line(), None, ""),
        (CcilConfig(), Shown(), None, ""),
        (CcilConfig(label="implicit"), seen_by(Shown(), CLASSES), None, ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_is_refused_before_anything_is_collected(remedy, learner, error, words):
    asked = PointEnv(1), Halving(), learner
    if error is None:
        remedy.check(*asked)
        return
    with pytest.raises(error, match=words):
        remedy.check(*asked)


def test_additive_noise_on_classes_is_refused():
    env = Plane(1, classes=4)
    with pytest.raises(CapabilityError, match="continuous action"):
        NoiseInjection().check(env, Homing(env), Line())


@pytest.mark.parametrize("remedy", [Cloning(), NoiseInjection(), AlvinnViews(), CcilConfig(), NoiseBC()])
def test_demonstrations_that_would_be_left_aside_are_refused(remedy):
    with pytest.raises(ConfigError, match="collects its own demonstrations"):
        remedy.check(Car(CAR, num_rows=1), PurePursuit(CAR), Shown(), initial=[one_step()])


def test_corrective_labels_are_made_of_the_demonstrations(tmp_path):
    """s' = s + a: the label of step t + 1 is s - a, and stands for step t."""
    x = np.array([[0.4], [0.2], [0.1], [0.05]], dtype=np.float32)
    demo = demonstration({STATE: x}, -0.5 * x, control_dt=0.1)
    config = CcilConfig(
        rejection=KeepAll(),
        dynamics=DynamicsConfig(hidden=(), lipschitz=Unlimited()),
        training=TrainConfig(num_steps=1, batch_size=4),
    )
    made = config.synthetic([demo], task(tmp_path), Shown())
    assert [one.branch for one in made] == [Branch(parent=0, step=step) for step in range(3)]
    assert [one.expert_action.tolist() for one in made] == [[row.tolist()] for row in -0.5 * x[1:]]


@dataclass(frozen=True, kw_only=True)
class Solved(Regression):
    """A head that is solved and not trained."""

    judgement: ClassVar[Judgement] = "none"


@pytest.mark.parametrize(
    ("remedy", "words"), [(NoiseBC, "solved once"), (Eil, "no gradient raises"), (DiffDagger, "")]
)
def test_what_has_no_meaning_for_a_head_that_is_solved(remedy, words):
    said = remedy.why_not(Solved(), is_discrete=False)
    assert said is not None
    assert words in said
    assert remedy.why_not(Gaussian(), is_discrete=False) is None
