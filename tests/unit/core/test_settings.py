"""What the types of settings say is what their values are held to, and what is shown."""

from dataclasses import dataclass, field
from math import inf, nan
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Positive, Range, Settings, Share, SomeWidths, type_text


@dataclass(frozen=True, kw_only=True)
class Sample(Settings):
    steps: Count = 1
    few: Annotated[Count, Range(le="steps")] | None = None
    rate: Positive = 1.0
    share: Share = 0.5
    widths: SomeWidths = (1,)
    pair: tuple[Count, Positive] | None = None
    heads: Annotated[Count, Range(multiple_of=2), Range(multiple_of="steps")] = 2
    word: Literal["red", "blue"] | None = "red"
    texts: tuple[str, ...] = ()
    spot: tuple[Count, Path] | None = None


@pytest.mark.parametrize(
    "good",
    [
        {"steps": np.int64(3), "heads": 6},
        {"rate": 2},
        {"share": 0.0},
        {"share": 1},
        {"widths": [4, 4]},
        {"pair": (1, 0.5)},
        {"steps": 3, "few": 3, "heads": 6},
        {"few": None, "word": None},
        {"pair": (np.int32(2), np.float32(0.5))},
        {"texts": ["a", "b"]},
        {"spot": (1, Path("a"))},
    ],
)
def test_values_in_range_pass(good):
    made = Sample(**good)
    for name, value in good.items():
        assert getattr(made, name) == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ({"steps": 0}, "int >= 1"),
        ({"steps": 2.0}, "int >= 1"),
        ({"steps": True}, "int >= 1"),
        ({"steps": "3"}, "int >= 1"),
        ({"steps": None}, "int >= 1"),
        ({"rate": inf}, "float > 0"),
        ({"rate": nan}, "float > 0"),
        ({"share": 1.0001}, "float >= 0 and <= 1"),
        ({"steps": 3, "heads": 6, "few": 4}, "int >= 1 and <= steps = 3 or None"),
        ({"widths": ()}, "tuple[int >= 1, ...], length >= 1"),
        ({"widths": (4, 0)}, "tuple[int >= 1, ...], length >= 1"),
        ({"widths": 4}, "tuple[int >= 1, ...], length >= 1"),
        ({"pair": (1,)}, "tuple[int >= 1, float > 0] or None"),
        ({"pair": (0.5, 1)}, "tuple[int >= 1, float > 0] or None"),
        ({"heads": 3}, "int >= 1 and a multiple of 2 and a multiple of steps = 1"),
        ({"steps": 3, "heads": 4}, "int >= 1 and a multiple of 2 and a multiple of steps = 3"),
        ({"word": "green"}, "'red' or 'blue' or None"),
        ({"texts": "ab"}, "tuple[str, ...]"),
        ({"texts": (1,)}, "tuple[str, ...]"),
        ({"spot": (0, Path())}, "tuple[int >= 1, Path] or None"),
    ],
)
def test_a_refusal_says_what_it_got_and_what_it_expected(bad: dict[str, Any], expected):
    with pytest.raises(ConfigError) as refusal:
        Sample(**bad)
    name = list(bad)[-1]
    assert refusal.value.what.startswith(f"Sample does not take this value of {name}")
    assert refusal.value.rest["got"] == f"{name} = {bad[name]!r}"
    assert refusal.value.rest["expected"] == expected


def test_a_refusal_says_what_the_setting_is_by_the_first_sentence_about_it():
    @dataclass(frozen=True, kw_only=True)
    class Told(Settings):
        """A sample.

        Attributes:
            rate: Share of steps, 0.5
                at first. More is slower.
            size: Metres.
            pair: Untold bounds
        """

        rate: Share = 0.5
        size: Positive = 1.0
        pair: tuple[Count, Count] = (1, 2)
        other: Count = 1

    def said(**settings: Any) -> str:
        with pytest.raises(ConfigError) as refusal:
            Told(**settings)
        return refusal.value.what

    assert said(rate=2) == "Told does not take this value of rate (Share of steps, 0.5 at first)."
    assert said(size=0) == "Told does not take this value of size (Metres)."
    assert said(pair=(1, 2, 3)) == "Told does not take this value of pair (Untold bounds)."
    assert said(other=0) == "Told does not take this value of other."


def test_a_bound_that_names_a_field_is_none_where_the_field_holds_none():
    @dataclass(frozen=True, kw_only=True)
    class Budget(Settings):
        most: int | None = None
        every: Annotated[int, Range(le="most")] = 9

    assert Budget().every == 9
    with pytest.raises(ConfigError, match="most = 8"):
        Budget(most=8)


def test_a_bound_may_lie_within_a_part_and_a_range_has_a_unit():
    @dataclass(frozen=True, kw_only=True)
    class Drive(Settings):
        body: Sample = field(default_factory=Sample)
        speed: Annotated[float, Range(ge=0, le="body.rate", unit="m/s")] = 1.0

    with pytest.raises(ConfigError, match=r"float >= 0 and <= body\.rate = 1\.0 \[m/s\]"):
        Drive(speed=1.1)


def test_ranges_do_not_show_in_files():
    sample = Sample(steps=2, few=1, pair=(3, 0.5))
    assert from_data(to_data(sample), Sample) == sample
    with pytest.raises(ConfigError, match="int >= 1"):
        from_data(to_data(Sample()) | {"steps": 0}, Sample)


def test_what_numpy_counts_becomes_what_python_counts_and_arrays_stay():
    @dataclass(frozen=True, kw_only=True)
    class Held(Settings):
        pair: tuple[Any, ...] = ()
        array: Any = None

    array, single = np.arange(2), np.array(3)
    made = Held(pair=[np.int64(1), 2, (np.float32(0.5),)], array=array)
    assert [type(one) for one in made.pair] == [int, int, tuple]
    assert type(made.pair[2][0]) is float
    assert made.array is array
    assert type(Held(array=single).array) is int


def test_plain_types_hold_too_and_other_types_are_left_to_the_type_checker():
    @dataclass(frozen=True, kw_only=True)
    class Plain(Settings):
        size: int = 1
        rate: float = 1.0
        flag: bool = True
        word: str = ""
        path: Path = Path()
        mixed: tuple[Path, str] | None = None
        paths: tuple[Path, ...] = ()

    made = Plain(size=np.int64(2), rate=3, flag=np.bool_(False), path="a", mixed=(3, "a"))  # type: ignore[arg-type]
    assert (made.size, made.rate, made.flag, made.path, made.mixed) == (2, 3, False, "a", (3, "a"))
    wrong: dict[str, Any] = {
        "size": 1.0,
        "rate": "1",
        "flag": 1,
        "word": 1,
        "mixed": (Path(), 1),
        "paths": "ab",
    }
    for name, value in wrong.items():
        with pytest.raises(ConfigError, match=f"{name} = "):
            Plain(**{name: value})


def test_nothing_is_a_multiple_of_none_or_of_nought():
    @dataclass(frozen=True, kw_only=True)
    class Cycle(Settings):
        period: int = 3
        steps: Annotated[int, Range(multiple_of="period")] = 6

    assert Cycle(period=2).steps == 6
    for period in (0, 4):
        with pytest.raises(ConfigError, match=f"int a multiple of period = {period}"):
            Cycle(period=period)


def test_settings_print_as_they_would_be_written_without_what_has_its_default():
    @dataclass(frozen=True, kw_only=True)
    class Outer(Settings):
        must: int
        body: Sample = field(default_factory=Sample)

    @dataclass(frozen=True, kw_only=True)
    class Own(Settings):
        size: int = 1

        def __repr__(self) -> str:
            return "mine"

    assert repr(Outer(must=0)) == "Outer(must=0)"
    assert repr(Outer(must=1, body=Sample(steps=2))) == "Outer(must=1, body=Sample(steps=2))"
    assert repr(Sample(word=None, texts=["a"])) == "Sample(word=None, texts=('a',))"
    assert repr(Own()) == "mine"


def test_a_class_of_settings_takes_no_options_that_nobody_knows():
    with pytest.raises(TypeError):

        class Odd(Settings, color="red"):
            pass


def test_a_check_of_its_own_comes_after_that_of_the_types():
    @dataclass(frozen=True, kw_only=True)
    class Odd(Settings):
        size: Count = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            if 6 % self.size == 0:
                raise ConfigError("It divides six.")

    with pytest.raises(ConfigError, match="does not take this value of size"):
        Odd(size=0)


def test_types_are_shown_with_what_they_allow():
    assert type_text(Annotated[float, Range(gt=0, lt="init_std")]) == "float > 0 and < init_std"
    assert type_text(tuple[Count, ...] | None) == "tuple[int >= 1, ...] or None"
    assert type_text(dict[str, Literal["a", "b"]]) == "dict[str, 'a' or 'b']"


def test_infinity_is_a_text_in_files_and_a_number_where_one_is_asked_for():
    @dataclass(frozen=True, kw_only=True)
    class Bounds:
        most: float = 1.0
        name: str = "none"
        count: int = 1

    assert from_data({"most": "-inf", "name": "inf"}, Bounds) == Bounds(most=-inf, name="inf")
    assert from_data(to_data(Bounds(most=inf)), Bounds).most == inf
    assert [to_data(Bounds(most=most))["most"] for most in (inf, -inf, 2.0)] == ["inf", "-inf", 2.0]
    for wrong in ({"count": "inf"}, {"most": "1.0"}, {"most": True}, {"count": 1.0}, {"name": 1}):
        with pytest.raises(ConfigError):
            from_data(wrong, Bounds)
