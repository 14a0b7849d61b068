"""What `steadyhand correct METHOD --help` says of each method, and whether it is true."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import steadyhand.recipes.correct
from steadyhand.core.codec import to_data
from steadyhand.core.errors import ConfigError
from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.human import HumanGate, SimulatedHuman
from steadyhand.recipes.remedies import remedies
from steadyhand.recipes.runs import CorrectRun

ROOT = Path(__file__).parents[3]


@pytest.fixture
def planned(cli, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the run that a command line asks for, without running it."""
    runs: list[CorrectRun] = []

    def stop(run: CorrectRun, *args: object, **options: object) -> None:
        runs.append(run)
        raise ConfigError("Stopped by the test.")

    monkeypatch.setattr(steadyhand.recipes.correct, "correct", stop)

    def plan(*words: str) -> CorrectRun:
        said = cli(*words)
        assert "Stopped by the test" in said.err, said.err
        return runs.pop()

    return plan


METHODS = {one.name: one for one in remedies()}


def test_every_remedy_is_listed_as_it_is_in_the_library(cli) -> None:
    listed = cli("correct", "--help").out.splitlines()
    for name, one in METHODS.items():
        assert f"  {name:<16} {one.summary}" in listed


@pytest.mark.parametrize("name", METHODS)
def test_the_help_is_the_method_s_own(cli, name) -> None:
    said = cli("correct", name, "--help")
    assert said.status == 0
    about = METHODS[name].summary
    assert "the same" not in about, "there is no line above it to be the same as"
    assert f"{METHODS[name].title}: {about}." in " ".join(said.out.split())
    page = re.findall(r"docs/methods/[a-z-]+\.md", said.out)[0]
    assert re.split("[ ,']", METHODS[name].title)[0].lower() in (ROOT / page).read_text().lower()


@pytest.mark.parametrize("name", METHODS)
def test_the_example_of_the_help_is_accepted_and_changes_something(cli, planned, name) -> None:
    said = " ".join(cli("correct", name, "--help").out.split())
    example = re.findall(r"example: steadyhand (correct .*?) page:", said)[0]
    words = shlex.split(example)
    assert words[:3] == ["correct", name, "car"]
    assert "--set" in words
    before = to_data(planned(*words[: words.index("--set")]))
    assert to_data(planned(*words)) != before


@pytest.mark.parametrize("name", METHODS)
def test_the_simulated_human_is_offered_where_there_is_one_and_is_the_library_s(cli, planned, name) -> None:
    method = planned("correct", name, "car").method
    has_human = isinstance(method, GatedConfig) and isinstance(method.gate, HumanGate)
    help_text = cli("correct", name, "--help").out
    assert ("--reaction-delay" in help_text) == has_human
    assert ("--miss-rate" in help_text) == has_human
    if has_human:
        assert method.gate.human == SimulatedHuman()
        words = ("--reaction-delay", "0.4", "--miss-rate", "0.2")
        human = planned("correct", name, "car", *words).method.gate.human
        assert human == SimulatedHuman(reaction_delay=0.4, miss_rate=0.2)
