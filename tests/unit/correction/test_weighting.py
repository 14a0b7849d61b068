"""Weights: shares of the total, what sampling by source would do on average, and what stays untouched."""

from dataclasses import replace

import numpy as np
import pytest

from drives import drive
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.marks import plain
from steadyhand.correction.segments import SegmentWindows
from steadyhand.correction.weighting import (
    EilMarks,
    InterventionWeighting,
    Sirius,
    SourceMixture,
    Unweighted,
    by_group,
)
from steadyhand.data.episode import EpisodeOrigin
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD

DEMO = drive("D" * 40)
DRIVES = [drive("r" * 30 + "h" * 10 + "r" * 20), drive("r" * 50)]


def in_round(episode, number, source="correction"):
    return replace(episode, provenance=EpisodeOrigin(source=source, round=number))


def share(marks, masks):
    total = sum(float(one.weight.sum()) for one in marks)
    return sum(float(one.weight[mask].sum()) for one, mask in zip(marks, masks, strict=True)) / total


def test_unweighted_leaves_all_as_it_is():
    assert Unweighted().marks([DEMO]) is None


def test_iwr_gives_interventions_half_and_keeps_the_robots_own_steps():
    episodes = [DEMO, *DRIVES]
    marks = InterventionWeighting().marks(episodes)
    assert share(marks, [episode.intervention for episode in episodes]) == pytest.approx(0.5, rel=1e-6)
    assert all((one.weight > 0).all() for one in marks)
    outside = np.concatenate([m.weight[~e.intervention] for m, e in zip(marks, episodes, strict=True)])
    assert np.ptp(outside) == 0.0
    assert sum(one.weight.sum() for one in marks) == pytest.approx(sum(map(len, episodes)), rel=1e-6)


def test_the_weighted_mean_is_what_sampling_by_source_gives_on_average():
    """E[loss] under "source by its share, then a step of it evenly" = weighted mean over all steps."""
    random = np.random.default_rng(0)
    groups = [random.integers(0, 3, len(episode)) for episode in DRIVES]
    losses = [random.normal(size=len(episode)) for episode in DRIVES]
    shares = {0: 0.8, 1: 0.15, 2: 0.05}
    marks = by_group(DRIVES, groups, shares)
    weight = np.concatenate([one.weight for one in marks]).astype(np.float64)
    group, loss = np.concatenate(groups), np.concatenate(losses)
    sampled = sum(part * loss[group == key].mean() for key, part in shares.items())
    assert (weight @ loss) / weight.sum() == pytest.approx(sampled, rel=1e-5)


def test_shares_are_of_the_weight_and_not_of_the_steps():
    """An episode of weight 3 counts as three of weight 1: shares are of what training sums over."""
    heavy = replace(drive("r" * 10), weight=np.full(10, 3.0, dtype=np.float32))
    light = drive("r" * 10)
    marks = by_group([heavy, light], [np.zeros(10, int), np.ones(10, int)], {0: 0.5, 1: 0.5})
    assert float(marks[0].weight.sum()) == pytest.approx(float(marks[1].weight.sum()))
    assert sum(float(one.weight.sum()) for one in marks) == pytest.approx(40.0)


def test_sirius_drops_what_came_before_an_intervention_and_keeps_the_demonstrations_share():
    episodes = [DEMO, *DRIVES]
    marks = Sirius(windows=SegmentWindows(before=1.0, after=0.0)).marks(episodes)
    assert not marks[1].weight[20:30].any()
    assert share(marks, [episode.intervention for episode in episodes]) == pytest.approx(0.5, rel=1e-6)
    everything = sum(map(len, episodes))
    demo = [np.full(len(episode), episode is DEMO) for episode in episodes]
    assert share(marks, demo) == pytest.approx(len(DEMO) / everything, rel=1e-6)


def test_sirius_shares_by_hand():
    """Of 60 steps 20 are demonstrated, 1/3; 5 corrections have .5, 3 steps before them .1, the rest .0667.

    The first correction's reaction is a correction; what came before a cut is the robot's.
    """
    episodes = [drive("D" * 20), drive("r" * 10 + "h" * 5 + "r" * 15), drive("r" * 10, success=None)]
    scheme = Sirius(share=0.5, before=0.1, windows=SegmentWindows(before=0.3, after=0.2))
    demo, first, last = (marks.weight for marks in scheme.marks(episodes))
    assert demo == pytest.approx(np.full(20, 1.0))  # its share is the one that it had
    assert first[10:15] == pytest.approx(np.full(5, 0.5 * 60 / 5))
    assert first[7:10] == pytest.approx(np.full(3, 0.1 * 60 / 3))
    robot = np.concatenate([first[:7], first[15:], last])
    assert robot == pytest.approx(np.full(32, (0.4 - 1 / 3) * 60 / 32))


def test_sirius_with_many_demonstrations_leaves_the_robot_nothing():
    episodes = [drive("D" * 500), *DRIVES]
    marks = Sirius().marks(episodes)
    assert share(marks, [np.ones(500, bool), *[np.zeros(len(e), bool) for e in DRIVES]]) == pytest.approx(0.5)
    assert not marks[2].weight.any()


def test_a_robot_that_was_never_helped_is_trained_on_as_before_it_drove():
    episodes = [in_round(DEMO, 1, "demonstration"), in_round(drive("rr"), 2, "rollout")]
    assert all((one.weight == 1.0).all() for one in SourceMixture().marks(episodes))


def test_steps_without_a_group_that_counts_weigh_nothing():
    episodes = [replace(drive("rrrr"), weight=np.float32([1.0, 2.0, 3.0, 4.0]))]
    (marks,) = by_group(episodes, [np.array([0, 1, 1, 5])], {0: 0.2, 1: 0.8, 5: 0.0, 9: 3.0})
    assert marks.weight == pytest.approx([0.2 * 6, 0.8 * 6 * 2 / 5, 0.8 * 6 * 3 / 5, 0.0])


def test_a_mixture_of_sources_has_its_ratios_and_looks_at_the_last_round():
    episodes = [in_round(DEMO, 1, "demonstration"), in_round(DRIVES[0], 2), in_round(DRIVES[0], 3)]
    marks = SourceMixture().marks(episodes)
    taken = DRIVES[0].intervention
    nothing = [np.zeros(len(episode), bool) for episode in episodes]
    assert share(marks, [*nothing[:2], taken]) == pytest.approx(0.1, rel=1e-6)
    assert share(marks, [*nothing[:2], ~taken]) == pytest.approx(0.1, rel=1e-6)
    assert share(marks, [np.ones(len(DEMO), bool), np.ones(len(taken), bool), nothing[2]]) == pytest.approx(
        0.8
    )


@pytest.mark.parametrize("scheme", [InterventionWeighting(), Sirius(), SourceMixture(), EilMarks()])
def test_demonstrations_alone_keep_their_weights_to_the_bit(scheme):
    weighted = replace(DEMO, weight=np.linspace(0.1, 3.0, len(DEMO), dtype=np.float32))
    (marks,) = scheme.marks([weighted])
    assert np.array_equal(marks.weight, weighted.weight)


def test_each_kind_of_constraint_counts_as_much_however_many_steps_it_has():
    for repeats in (1, 20):
        episodes = [DEMO, *DRIVES, *[drive("r" * 50)] * repeats]
        marks = EilMarks(windows=SegmentWindows(before=1.0), explicit=2.0).marks(episodes)
        for kind, expected in ((GOOD, 0.25), (BAD, 0.25), (EXPLICIT, 0.5)):
            assert share(marks, [one.kind == kind for one in marks]) == pytest.approx(expected, rel=1e-5)


def test_kinds_of_a_drive():
    marks = EilMarks(windows=SegmentWindows(before=0.2, after=0.1)).marks([drive("rrrrhhr", success=None)])
    assert marks[0].kind.tolist() == [GOOD, GOOD, BAD, BAD, EXPLICIT, EXPLICIT, EXPLICIT]
    assert (marks[0].weight > 0).tolist() == [True] * 6 + [False]  # cut: nobody knows what would have come
    left_out = EilMarks(windows=SegmentWindows(before=0.2, after=0.1), reaction="ignored")
    assert (left_out.marks([drive("rrrrhhr")])[0].weight > 0).tolist() == [True] * 4 + [False, True, True]


def test_a_labelled_step_is_explicit_whoever_drove():
    """Its target is the label: judging it as the robot's action would judge the expert."""
    asked = replace(drive("rrrrhh"), expert_action_valid=np.array([False, True, False, True, True, True]))
    kinds = EilMarks(windows=SegmentWindows(before=0.2)).kinds(asked)
    assert kinds.tolist() == [GOOD, EXPLICIT, BAD, EXPLICIT, EXPLICIT, EXPLICIT]


def test_without_the_value_terms_the_weights_are_those_of_hg_dagger_to_the_bit():
    episodes = [DEMO, *DRIVES]
    marks = EilMarks(good=0.0, bad=0.0).marks(episodes)
    for one, episode in zip(marks, episodes, strict=True):
        assert np.array_equal(one.weight, plain(episode).weight)


def test_shares_are_checked():
    for wrong in ({"share": -0.1}, {"share": 1.1}):
        with pytest.raises(ConfigError, match="share"):
            InterventionWeighting(**wrong)
    for wrong in (
        lambda: EilMarks(good=0.0, bad=0.0, explicit=0.0),
        lambda: SourceMixture(previous=0.0, interventions=0.0, rest=0.0),
        lambda: Sirius(share=0.7, before=0.5),
    ):
        with pytest.raises(ConfigError, match="Shares"):
            wrong()
    for kind, wrong in ((Sirius, "before"), (SourceMixture, "rest"), (EilMarks, "bad")):
        with pytest.raises(ConfigError, match=rf"{wrong} = -0\.1"):
            kind(**{wrong: -0.1})


@pytest.mark.parametrize("scheme", [InterventionWeighting(), Sirius(), SourceMixture(), EilMarks()])
def test_schemes_are_settings_that_can_be_stored(scheme):
    config = HgDagger(weighting=scheme)
    assert from_data(to_data(config), HgDagger) == config
