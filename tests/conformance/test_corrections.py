"""Every remedy with every policy class: one short round each, or a reason in the table of refusals."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.remedy import TrainedPolicy
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.heads.config import Judgement
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.regression import Regression
from steadyhand.recipes.remedies import remedies, remedy
from steadyhand.testing import check_correction, check_refused, policy_classes, small
from steadyhand.testing.places import place_of
from steadyhand.testing.refusals import MOST, REFUSALS, share_refused

HEADS = policy_classes()
PAIRS = [(one.name, head) for one in remedies() for head in HEADS]
TWICE = (
    {("dagger", head) for head in HEADS}
    | {(one.name, "Gaussian") for one in remedies()}
    | {("dart", "Categorical"), ("ccil", "Categorical")}
)
"""Pairs that are taught twice: every policy class, every remedy, and what is different for classes."""


def name(value: object) -> str:
    return str(value).replace(", ", "-")


def test_refusals_name_pairs_that_there_are_give_reasons_and_are_few() -> None:
    assert set(REFUSALS) <= set(PAIRS)
    assert all(len(reason) > 25 for reason in REFUSALS.values())
    assert share_refused() == len(REFUSALS) / len(PAIRS)
    assert share_refused() <= MOST == 0.15


@dataclass(frozen=True, kw_only=True)
class Solved(Regression):
    """A head that is solved and not trained, and says no more of remedies."""

    judgement: ClassVar[Judgement] = "none"


def test_what_a_head_says_of_itself_is_enough_for_every_remedy() -> None:
    refused = {one.name for one in remedies() if one.why_not(Solved(), is_discrete=False)}
    assert refused == {"noise-bc", "eil", "diff-dagger"}
    assert not [one.name for one in remedies() if one.why_not(Gaussian(), is_discrete=False)]


@pytest.mark.parametrize(("which", "head"), [pair for pair in PAIRS if pair not in REFUSALS], ids=name)
def test_a_short_round(which, head, tmp_path) -> None:
    toy, method = HEADS[head], small(remedy(which))
    place = place_of(method, toy.head, is_discrete=toy.is_discrete)
    taught = check_correction(
        method, toy.head, folder=tmp_path / "it", place=place, twice=(which, head) in TWICE
    )
    if isinstance(method, GatedConfig) and head == "Gaussian":
        # Or nothing of what follows a takeover would have been tried.
        assert taught.burden.interventions > 0
        assert taught.burden.human_steps < taught.burden.env_steps
    if which == "noise-bc":
        clone = check_correction(
            small(remedy("cloning")), toy.head, folder=tmp_path / "clone", place=place, twice=False
        )
        assert not same_parameters(taught, clone), "noise on the inputs did nothing"


def same_parameters(one: TrainedPolicy, other: TrainedPolicy) -> bool:
    """Whether two policies are one: trained on the same data, from the same parameters, in the same order."""
    first, second = (tensors_of(taught.learner.policy(taught.folder)) for taught in (one, other))
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize(("which", "head"), list(REFUSALS), ids=name)
def test_what_has_no_meaning_is_refused_before_a_label_is_asked(which, head, tmp_path) -> None:
    toy = HEADS[head]
    check_refused(small(remedy(which)), toy.head, folder=tmp_path, is_discrete=toy.is_discrete)


@pytest.mark.parametrize(
    "head",
    [Gaussian(std="fixed"), Gaussian(std="global"), Judging(head=Regression())],
    ids=lambda head: repr(head).replace(" ", ""),
)
def test_other_settings_of_a_head_whose_own_loss_is_silent_are_refused_too(head, tmp_path) -> None:
    check_refused(small(remedy("diff-dagger")), head, folder=tmp_path)
