"""The section about ways: there when the env knows them, absent otherwise, and saying what the JSON says."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from outcomes import episodes, section_of
from steadyhand.analysis.multimodality import Ways, summarise_modes
from steadyhand.analysis.page import render
from steadyhand.analysis.report import completed, read_report, write_report
from steadyhand.analysis.results import MeanTest, Report
from steadyhand.analysis.summary import summarise
from steadyhand.core.statistics import paired_difference

STARTS = 48


def modes(report):
    return section_of(render(report), "Which way they went")


def all_numbers(data):
    """Return every number of a JSON document."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return {number for item in data for number in all_numbers(item)}
    return {float(data)} if isinstance(data, int | float) and not isinstance(data, bool) else set()


def result(name, kind, modes, num_modes, *, reference=None):
    modes = np.array(modes, dtype=np.int64)
    success = modes >= 0
    ways = Ways(
        modes=modes,
        success=success,
        group=np.repeat(np.arange(STARTS // 8), 8),
        track=np.repeat(modes[:, None], 20, axis=1).astype(np.int8),
    )
    one = summarise(
        episodes(name, success, success.astype(np.float64), np.full(STARTS, 20)),
        kind=kind,
        modes=summarise_modes(ways, num_modes=num_modes, reference=reference),
    )
    return one, ways


def fork(num_modes=2):
    random = np.random.default_rng(0)
    expert, ways = result("expert", "expert", random.integers(0, num_modes, STARTS), num_modes)
    mean, _ = result("Regression", "policy", [-1] * STARTS, num_modes, reference=ways)
    flow, _ = result("Flow <i>", "policy", random.integers(-1, num_modes, STARTS), num_modes, reference=ways)
    averaged, sampled = np.zeros(STARTS, dtype=bool), np.array(flow.successes)
    test = MeanTest(
        name="Flow <i>",
        num_samples=16,
        returns=paired_difference(averaged.astype(np.float64), sampled.astype(np.float64), seed=0),
        mean_return=0.0,
        sample_return=float(sampled.mean()),
        mean_successes=0,
        sample_successes=int(sampled.sum()),
        success=paired_difference(averaged, sampled, seed=0),
    )
    results = (expert, mean, flow)
    return completed(Report(title="fork", command="c", env="forks", results=results, mean_tests=(test,)))


@pytest.mark.parametrize("num_modes", [2, 24])
def test_every_number_of_the_section_is_in_the_json(num_modes, tmp_path):
    report = fork(num_modes)
    write_report(report, tmp_path)
    text = modes(report)
    shown = {float(value) for value in re.findall(r'<data value="([^"]*)"', text)}
    assert len(shown) > 15
    assert shown <= all_numbers(json.loads((tmp_path / "report.json").read_text()))
    assert read_report(tmp_path / "report.json") == report


@pytest.mark.parametrize("num_modes", [2, 24])
def test_the_bars_are_as_high_as_the_shares(num_modes):
    report = fork(num_modes)
    (drawing,) = re.findall(r"<svg.*?</svg>", modes(report), flags=re.DOTALL)
    root = ET.fromstring(drawing)
    assert root.get("aria-label") == root.find("title").text
    heights = [float(one.get("height")) for one in root.iter("rect")]
    shares = [share for one in report.results for share in one.modes.shares]
    assert len(heights) == len(shares) == 2 * num_modes, "nothing succeeded with the mean"
    scale = max(heights) / max(shares)
    np.testing.assert_allclose(heights, np.array(shares) * scale, rtol=1e-4)
    marks = [one for one in root.iter("line") if one.get("class") == "whisker"]
    assert len(marks) == 2 * num_modes, "the expert's share on each bar of either policy"


def test_names_are_escaped_and_tables_are_labelled():
    text = modes(fork())
    assert "Flow &lt;i&gt;" in text
    assert "<i>" not in text.replace("<i class", "")
    assert text.count("<table") == text.count("<caption>") == 2
    assert all("data-label" in cell for cell in re.findall(r"<td[^>]*>", text))
    assert "p &lt; 0.0001" in text


def test_without_ways_there_is_no_section(report):
    assert modes(report) == ""
    assert "Which way" not in render(report)


def test_without_an_expert_nothing_is_compared():
    report = fork()
    alone = dataclasses.replace(report, results=report.results[1:], mean_tests=())
    text = modes(alone)
    assert "Distance given" not in text
    assert "whisker" not in text
    assert "Which way" in render(alone)
