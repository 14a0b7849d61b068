"""Every remedy with every policy class: one short round each, or a reason in the table of refusals."""

from typing import get_args

import pytest

from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.regression import Regression
from steadyhand.recipes.remedies import REMEDIES, remedy
from steadyhand.testing import TOY_HEADS, check_correction, check_refused, small
from steadyhand.testing.refusals import MOST, REFUSALS, share_refused

PAIRS = [(one.name, head) for one in REMEDIES for head in TOY_HEADS]
TWICE = {("dagger", head) for head in TOY_HEADS} | {
    (one.name, head) for one in REMEDIES for head in ("Gaussian", "Primitives, discrete")
}
"""Pairs that are taught twice: every policy class, every remedy, continuous and discrete."""


def name(value: object) -> str:
    return str(value).replace(", ", "-")


def test_every_policy_class_is_a_column() -> None:
    assert {type(toy.head) for toy in TOY_HEADS.values()} == set(get_args(HeadConfig))


def test_refusals_name_pairs_that_there_are_give_reasons_and_are_few() -> None:
    assert set(REFUSALS) <= set(PAIRS)
    assert all(len(reason) > 60 for reason in REFUSALS.values())
    assert share_refused() == len(REFUSALS) / len(PAIRS)
    assert share_refused() <= MOST == 0.15


@pytest.mark.parametrize(("which", "head"), [pair for pair in PAIRS if pair not in REFUSALS], ids=name)
def test_a_short_round(which, head, tmp_path) -> None:
    toy, method = TOY_HEADS[head], small(remedy(which))
    taught = check_correction(
        method, toy.head, folder=tmp_path, is_discrete=toy.is_discrete, twice=(which, head) in TWICE
    )
    assert taught.labels > 0


@pytest.mark.parametrize(("which", "head"), list(REFUSALS), ids=name)
def test_what_has_no_meaning_is_refused_before_a_label_is_asked(which, head, tmp_path) -> None:
    toy = TOY_HEADS[head]
    check_refused(small(remedy(which)), toy.head, folder=tmp_path, is_discrete=toy.is_discrete)


@pytest.mark.parametrize(
    "head",
    [Gaussian(std="fixed"), Gaussian(std="global"), Judging(head=Regression())],
    ids=lambda head: repr(head).replace(" ", ""),
)
def test_other_settings_of_a_head_whose_own_loss_is_silent_are_refused_too(head, tmp_path) -> None:
    check_refused(small(remedy("diff-dagger")), head, folder=tmp_path)
