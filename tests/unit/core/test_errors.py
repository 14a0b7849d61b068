"""Errors say what, got, expected, available and what to do."""

import pytest

from steadyhand.core import errors
from steadyhand.core.errors import SteadyhandError
from steadyhand.core.listing import listed


def test_every_part_is_on_its_own_line():
    error = SteadyhandError("It broke.", got=3, expected="4", available=["a", "b"], hint="mend it")
    assert str(error).splitlines() == [
        "It broke.",
        "  got:       3",
        "  expected:  4",
        "  available: a, b",
        "  do this:   mend it",
    ]
    assert error.what == "It broke."


def test_parts_that_are_not_given_are_left_out():
    assert str(SteadyhandError("It broke.")) == "It broke."
    assert str(SteadyhandError("It broke.", got=0)) == "It broke.\n  got:       0"


def test_nothing_available_is_said():
    assert "available: (none)" in str(SteadyhandError("No.", available=[]))


def test_a_near_miss_is_suggested_unless_there_is_a_hint():
    assert "did you mean 'dagger'?" in str(SteadyhandError("No.", got="dager", available=["dart", "dagger"]))
    assert "did you mean" not in str(SteadyhandError("No.", got="dager", available=["dagger"], hint="x"))
    assert "did you mean" not in str(SteadyhandError("No.", got="zzz", available=["dagger"]))


@pytest.mark.parametrize(
    "name", ["SpecError", "ConfigError", "DataError", "CapabilityError", "ArtifactError"]
)
def test_one_base_catches_them_all(name):
    with pytest.raises(SteadyhandError, match="wrong"):
        raise getattr(errors, name)("wrong", available=iter(["x"]))


def test_an_error_may_be_said_of_a_place():
    error = errors.DataError("It broke.", got=3, expected=4, available=["a"], hint="mend it")
    there = error.within("episode 7")
    assert str(there) == str(error).replace("It broke.", "episode 7: It broke.")
    assert type(there) is errors.DataError
    assert str(there.within("a.json")).startswith("a.json: episode 7: It broke.")


def test_an_error_is_completed_by_what_it_does_not_say_itself():
    bare = errors.DataError("It broke.", got=3)
    assert str(bare.completed("a.json", hint="mend it")) == (
        "a.json: It broke.\n  got:       3\n  do this:   mend it"
    )
    told = errors.DataError("a.json broke.", hint="leave it")
    assert str(told.completed("a.json", hint="mend it")) == "a.json broke.\n  do this:   leave it"


def test_lists_name_the_first_few_and_count_the_others():
    assert listed([3, 5, 8]) == "3, 5, 8"
    assert listed([3, 5], most=2) == "3, 5"
    assert listed([3, 5, 8], most=2) == "3, 5 and 1 more"
    assert listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
