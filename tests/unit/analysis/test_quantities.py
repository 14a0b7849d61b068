"""The error curve names its quantity, and its unit where one is known."""

import re

import pytest

from outcomes import section_of
from steadyhand.analysis.page import render
from steadyhand.analysis.quantities import DEVIATION, error_of
from steadyhand.analysis.report import completed
from steadyhand.analysis.results import Report, Wording
from steadyhand.envs.catalogue import BUILT_IN


def shown(report):
    return section_of(render(report), "Error along the episode")


def title(report):
    return re.search(r"<strong>(.*?)</strong>", shown(report))[1]


def about(report, env, **options):
    return completed(Report(title="t", command="c", env=env, results=report.results, **options))


@pytest.mark.parametrize("env_id", BUILT_IN)
def test_every_built_in_env_says_what_its_error_is(env_id):
    assert error_of(env_id) != DEVIATION


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ("forks", "Distance in y from the nearer middle path [m]"),
        ("pendulum", "Angle from upright [rad]"),
        ("linear", "Distance from rest (norm of the state)"),
        ("CartPole-v1", "Deviation from how the expert would do the task"),
    ],
)
def test_the_error_curve_names_what_it_shows(report, env, expected):
    assert title(about(report, env)) == expected
    assert f"{expected} along the episode" in shown(about(report, env))


def test_the_wording_of_the_caller_goes_first(report):
    wording = Wording(error="distance from the kerb", error_unit="cm")
    assert title(about(report, "forks", wording=wording)) == "Distance from the kerb [cm]"
