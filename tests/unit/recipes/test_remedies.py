"""Every remedy by name: the table of the command line is the library's, and each spends the same budget."""

import pytest

from steadyhand.cli import correct
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.recipes.remedies import REMEDIES, Budget, remedy
from steadyhand.recipes.runs import CorrectRun


def test_the_command_line_names_the_remedies_of_the_library_in_the_same_words() -> None:
    assert {one.name: one.summary for one in REMEDIES} == correct.REMEDIES
    assert list(correct.REMEDIES) == [one.name for one in REMEDIES]
    assert len({one.title for one in REMEDIES}) == len(REMEDIES)


@pytest.mark.parametrize("one", REMEDIES, ids=lambda one: one.name)
def test_each_asks_for_the_budget_and_survives_run_json(one) -> None:
    method = one.make(Budget(labels=600, rounds=3, episodes=2))
    assert method.num_labels == 600
    run = CorrectRun(method=method, name=one.title)
    assert from_data(to_data(run), CorrectRun, source="a test") == run


def test_an_unknown_name_and_an_uneven_budget_are_refused() -> None:
    with pytest.raises(ConfigError, match="no such remedy"):
        remedy("prayer")
    with pytest.raises(ConfigError, match="multiple of the rounds"):
        Budget(labels=100, rounds=3)
    with pytest.raises(ConfigError, match="positive"):
        Budget(labels=0)
