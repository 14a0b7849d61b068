"""Every remedy by name: there is one table, and each spends the same budget."""

import subprocess
import sys

import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.correction.budget import Budget
from steadyhand.recipes.remedies import remedies, remedy
from steadyhand.recipes.runs import CorrectRun


def test_names_titles_and_summaries_tell_twenty_remedies_apart() -> None:
    ours = [one for one in remedies() if one.__module__.startswith("steadyhand.")]
    assert len(ours) == 20
    for tells in ("name", "title", "summary"):
        assert len({getattr(one, tells) for one in ours}) == 20
    assert all(remedy(one.name) is one for one in ours)


def test_names_and_settings_cost_no_torch() -> None:
    """The list of remedies, their help and a run.json are read without it."""
    code = "import sys, steadyhand.recipes.remedies as r; r.remedies(); print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout == "False\n"


@pytest.mark.parametrize("one", remedies(), ids=lambda one: one.name)
def test_each_asks_for_the_budget_and_survives_run_json(one) -> None:
    method = one.from_budget(Budget(labels=600, rounds=3, episodes=2, long_episodes=4))
    assert method.num_labels == 600
    assert method.num_episodes == (4 if one.name == "noise" else 6), "noise alone is in few long episodes"
    assert method.in_tables == one.title
    run = CorrectRun(method=method)
    assert from_data(to_data(run), CorrectRun, source="a test") == run


def test_an_unknown_name_and_an_uneven_budget_are_refused() -> None:
    with pytest.raises(ConfigError, match="no such remedy"):
        remedy("prayer")
    with pytest.raises(ConfigError, match="multiple of the rounds"):
        Budget(labels=100, rounds=3)
    with pytest.raises(ConfigError, match="labels = 0"):
        Budget(labels=0)
