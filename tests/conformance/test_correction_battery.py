"""The battery of remedies itself: each law catches a remedy that breaks it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from steadyhand.core.errors import SteadyhandError
from steadyhand.core.protocol import Actor
from steadyhand.correction.burden import Burden
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.gates import LossGate
from steadyhand.correction.marks import Marks
from steadyhand.correction.noise import NoisyExecution
from steadyhand.correction.weighting import EilMarks, Unweighted
from steadyhand.data.episode import Episode
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression
from steadyhand.recipes.remedies import remedy
from steadyhand.recipes.teach import Trainer
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.testing import check_correction, check_refused, small
from steadyhand.testing.corrections import WatchedLearner

HEAD = Gaussian()


def check(which: str, tmp_path, *, twice: bool = False) -> None:
    check_correction(small(remedy(which)), HEAD, folder=tmp_path, twice=twice)


def test_it_catches_the_executed_action_as_the_label(monkeypatch, tmp_path) -> None:
    whole = NoisyExecution.act

    def dirty(self, *args):
        decision = whole(self, *args)
        return replace(decision, label=decision.action)

    monkeypatch.setattr(NoisyExecution, "act", dirty)
    with pytest.raises(AssertionError, match="the expert never answered this"):
        check("noise", tmp_path)


def test_it_catches_a_robot_that_imitates_itself(monkeypatch, tmp_path) -> None:
    def everything(self: Unweighted, episodes: Sequence[Episode]) -> Sequence[Marks]:
        del self
        return [Marks(weight=np.ones(len(episode), dtype=np.float32)) for episode in episodes]

    monkeypatch.setattr(Unweighted, "marks", everything)
    with pytest.raises(AssertionError, match="imitates itself"):
        check("hg-dagger", tmp_path)


def test_it_catches_a_judgement_that_passes_for_a_label(monkeypatch, tmp_path) -> None:
    whole = EilMarks.marks

    def kindless(self: EilMarks, episodes: Sequence[Episode]) -> Sequence[Marks]:
        return [replace(marks, kind=None) for marks in whole(self, episodes) or ()]

    monkeypatch.setattr(EilMarks, "marks", kindless)
    with pytest.raises(AssertionError, match="counts as shown"):
        check("eil", tmp_path)


def test_it_catches_labels_that_are_not_those_of_the_budget(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(DaggerConfig, "num_labels", 23)
    with pytest.raises(AssertionError, match="budget: 24 labels, not 23"):
        check("dagger", tmp_path)


def test_it_catches_a_burden_that_forgets_a_label(monkeypatch, tmp_path) -> None:
    whole = Burden.of.__func__  # pyright: ignore[reportFunctionMemberAccess]

    def less(cls, episodes):
        burden = whole(cls, episodes)
        return replace(burden, human_steps=burden.human_steps - 1)

    monkeypatch.setattr(Burden, "of", classmethod(less))
    with pytest.raises(AssertionError, match="burden: 23 human_steps, 24 counted"):
        check("cloning", tmp_path)


def test_it_catches_a_seed_of_its_own(monkeypatch, tmp_path) -> None:
    whole, seeds = WatchedLearner.fit, count()

    def random(self, episodes, *, seed, **rest):
        whole(self, episodes, seed=seed + next(seeds), **rest)

    monkeypatch.setattr(WatchedLearner, "fit", random)
    with pytest.raises(AssertionError, match="same seed, same bits"):
        check("cloning", tmp_path, twice=True)


def test_it_catches_an_expert_in_place_of_the_policy(monkeypatch, tmp_path) -> None:
    whole = RecedingHorizon.act

    def disguised(self, *args):
        decision = whole(self, *args)
        return replace(decision, actor=np.full_like(decision.actor, Actor.EXPERT))

    monkeypatch.setattr(RecedingHorizon, "act", disguised)
    with pytest.raises(AssertionError, match="somebody else drove"):
        check("cloning", tmp_path)


def test_it_catches_a_refusal_that_comes_too_late_or_never(monkeypatch, tmp_path) -> None:
    with pytest.raises(AssertionError, match="not refused"):
        check_refused(small(remedy("cloning")), HEAD, folder=tmp_path / "never")
    monkeypatch.setattr(LossGate, "check", lambda self, env, learner: None)
    with pytest.raises(AssertionError, match="refused too late"):
        check_refused(small(remedy("diff-dagger")), Regression(), folder=tmp_path / "late")


def test_it_catches_a_refusal_without_a_hint(monkeypatch, tmp_path) -> None:
    def curt(self, method, **rest):
        raise SteadyhandError("No.", got="that", expected="something else")

    monkeypatch.setattr(Trainer, "check", curt)
    with pytest.raises(AssertionError, match="has no 'do this:'"):
        check_refused(small(remedy("diff-dagger")), Regression(), folder=tmp_path)
