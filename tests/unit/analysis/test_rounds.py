"""The page's section on rounds shows what was measured, and no chart or column without a figure."""

import dataclasses
import html
import re

import pytest

from outcomes import section_of
from steadyhand.analysis.page import render
from steadyhand.correction.burden import Burden

LOSS = ["Online loss", "Regret"]
LABELS = ["New labels", "All labels", "Validation"]


def shown(report, *, losses, burdens=None):
    """Return the section on rounds with these (online loss, regret) and burdens, one for each round."""
    records = tuple(
        dataclasses.replace(
            record,
            online_loss=loss,
            regret=regret,
            burden=burdens[record.round - 1] if burdens else record.burden,
        )
        for record, (loss, regret) in zip(report.rounds.records, losses, strict=False)
    )
    rounds = dataclasses.replace(report.rounds, records=records, returned=1)
    page = render(dataclasses.replace(report, rounds=rounds))
    return section_of(page, f"{rounds.name}, round by round")


def table(section):
    """Return header -> the cells of its column, as text."""
    part = section.split("<table")[1]
    heads, *rows = (
        [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r"<t[hd][ >].*?</t[hd]>", row)]
        for row in re.findall(r"<tr.*?</tr>", part, flags=re.DOTALL)
    )
    return dict(zip(heads, zip(*rows, strict=True), strict=True))


NO_LOSS = [(None, None)] * 2


def test_the_expert_drives_at_the_steps_that_were_counted(report):
    burdens = [
        Burden(human_steps=30, env_steps=30),
        Burden(human_steps=30, env_steps=1370, interventions=4),
        Burden(),
    ]
    losses = [(None, None), (0.2, 0.1), (0.1, 0.05)]
    columns = table(shown(report, losses=losses, burdens=burdens))
    assert report.rounds.records[1].beta == 0.0
    assert columns["Expert drives"] == ("100 %", "2 %", "\u2013")
    assert columns["Interventions"] == ("0", "4", "0")
    assert columns["Env steps"] == ("30", "1,370", "0")


def test_nobody_took_over_so_no_interventions_are_counted(report):
    columns = table(shown(report, losses=[(None, None), (0.2, 0.1), (0.1, 0.05)]))
    assert list(columns) == ["Round", "Expert drives", *LABELS, *LOSS]
    assert columns["Expert drives"] == ("100 %", "0 %", "0 %")


def test_without_counted_steps_nothing_is_said_about_who_drove(report):
    columns = table(shown(report, losses=NO_LOSS, burdens=[Burden(), Burden()]))
    assert list(columns) == ["Round", *LABELS]


def test_without_any_online_loss_neither_chart_nor_columns_are_shown(report):
    section = shown(report, losses=NO_LOSS)
    assert list(table(section)) == ["Round", "Expert drives", *LABELS]
    assert "nline loss" not in section
    assert section.count("<svg") == 1


@pytest.mark.parametrize(
    ("losses", "charts"),
    [
        ([(None, None), (0.2, 0.1)], 1),
        ([(None, None), (0.2, None), (0.1, 0.05)], 1),
        ([(None, None), (0.2, 0.1), (0.1, 0.05)], 2),
    ],
)
def test_the_loss_is_drawn_from_two_points_on(report, losses, charts):
    section = shown(report, losses=losses)
    assert section.count("<svg") == charts
    assert ("Online loss and regret" in section) == (charts == 2)
    assert list(table(section))[-2:] == LOSS
    assert "regret is its mean so far" in section


@pytest.mark.parametrize("losses", [NO_LOSS, [(None, None), (0.2, 0.1)], [(None, None), (0.2, 0.1)] * 2])
def test_no_half_of_the_charts_is_blank(report, losses):
    section = shown(report, losses=losses)
    pair = section.split('class="pair"')[1].split("<table")[0]
    assert pair.count("<figure") + pair.count('class="aside"') == 2
    assert section.count("Returned: round 1") == 1


def test_the_rounds_are_named_after_their_method(report):
    rounds = dataclasses.replace(report.rounds, name="HG-DAgger")
    page = render(dataclasses.replace(report, rounds=rounds))
    section = section_of(page, "HG-DAgger, round by round")
    assert "<caption>Rounds of HG-DAgger</caption>" in section
