"""Parts by their names: those that files and people use, and what each refusal says."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import (
    Part,
    attribute,
    available,
    choices,
    chosen,
    handed_over,
    is_open,
    is_part,
    load_all,
    made,
    name_of,
    require_part,
    resolved,
    spoken,
    spoken_name,
    summary,
)
from steadyhand.core.settings import Count


class Wheel(Part):
    """Base of wheels."""

    kind: ClassVar[str] = "wheel"
    word_mark: ClassVar[str] = "_"
    ours: ClassVar[Mapping[str, str]] = {"Iron": f"{__name__}:Iron"}


@dataclass(frozen=True, kw_only=True)
class Iron(Wheel):
    """A wheel of iron, et al. by its
    smith. It rusts.

    And more.
    """

    spokes: Count = 6


@dataclass(frozen=True, kw_only=True)
class BigOakWheel(Wheel):
    name: ClassVar[str] = "oak"
    summary: ClassVar[str] = "Of oak"


class Round(Wheel, ABC):
    """Narrows the kind."""

    @abstractmethod
    def turn(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Hoop(Round):
    def turn(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Bare(Wheel, ABC):
    """A base of others, though nothing in it is abstract."""


@dataclass(frozen=True, kw_only=True)
class Cart:
    front: Wheel
    back: Round | None = None


@dataclass(frozen=True, kw_only=True)
class Borrowed:
    """Reads another file while it is made."""

    said: str

    def __post_init__(self) -> None:
        with pytest.raises(ConfigError):
            from_data({"front": {"type": self.said}}, Cart)


@dataclass(frozen=True, kw_only=True)
class Train:
    first: Borrowed
    last: Cart


@dataclass(frozen=True, kw_only=True)
class Free(Part):
    """A part of another kind."""

    rim: Wheel | None = None

    @property
    def exempt(self) -> Mapping[str, str]:
        return {"rolls": "it stands", **super().exempt}


class Plain(Wheel):
    """No dataclass."""


def test_a_kind_is_open_and_its_members_are_those_that_can_be_made():
    assert [is_open(one) for one in (Wheel, Round, Iron, int, 3)] == [True, True, False, False, False]
    assert [one for one in (Wheel, Round, Bare, Plain, Iron, Hoop, Free, Cart, 3) if is_part(one, Wheel)] == [
        Iron,
        Hoop,
    ]
    assert not is_part(Iron, Round)


def test_a_part_is_summed_up_in_its_first_sentence_or_in_its_own_words():
    assert summary(Iron) == "A wheel of iron, et al. by its smith"
    assert summary(BigOakWheel) == "Of oak"
    assert summary(type("Mute", (), {"__doc__": None})) == ""


def test_parts_are_called_in_short_if_they_are_ours_and_otherwise_by_where_they_are():
    assert name_of(Iron) == "Iron"
    assert name_of(Hoop) == f"{__name__}:Hoop"
    other = type("Iron", (Wheel,), {"__module__": "elsewhere", "__qualname__": "Outer.Iron"})
    assert name_of(other) == "elsewhere:Outer.Iron"
    assert spoken_name(Wheel, Iron) == "iron"
    assert spoken_name(Wheel, BigOakWheel) == "oak"
    names = ("BigOakWheel", "HTTP2Config", "Resnet18Wheel", "Wide", "a.b:C")
    assert [spoken(Wheel, name) for name in names] == ["big_oak", "http2", "resnet_18", "wide", "a.b:C"]


def test_what_holds_for_a_part_holds_for_what_it_is_in():
    assert Iron().exempt == {}
    assert Free(rim=Iron()).exempt == {"rolls": "it stands"}

    @dataclass(frozen=True, kw_only=True)
    class Around(Part):
        inner: Free
        more: tuple[Free, ...] = ()

    assert Around(inner=Free()).exempt == {"rolls": "it stands"}


def test_a_person_may_name_a_part_in_many_ways():
    for name in ("Iron", "iron", "IRON", "iron_wheel", f"{__name__}:Iron"):
        assert chosen(Wheel, name) is Iron
    for name in ("oak", "BigOakWheel", f"{__name__}:BigOakWheel"):
        assert chosen(Wheel, name) is BigOakWheel
    assert made(Wheel, "iron") == Iron()
    with pytest.raises(ConfigError, match="A name of wheel parts is empty"):
        chosen(Wheel, "")
    with pytest.raises(ConfigError, match="There is no wheel of that name") as caught:
        chosen(Wheel, "Hop")
    assert caught.value.rest["available"] == available(Wheel)
    with pytest.raises(ConfigError, match="has no such wheel") as caught:
        chosen(Wheel, f"{__name__}:Hop")
    assert set(caught.value.rest["available"]) == {"Iron", "BigOakWheel", "Hoop"}
    with pytest.raises(ConfigError, match="Free cannot stand here") as caught:
        chosen(Wheel, f"{__name__}:Free")
    assert caught.value.rest["got"] == "a class, derived from Part"
    with pytest.raises(ConfigError, match="pytest cannot stand here") as caught:
        chosen(Wheel, f"{__name__}:pytest")
    assert caught.value.rest["got"] == "module"
    with pytest.raises(ConfigError, match=r"does not have all(?s:.*)the methods turn\n"):
        chosen(Wheel, f"{__name__}:Round")
    with pytest.raises(ConfigError, match="Plain cannot stand here"):
        chosen(Wheel, f"{__name__}:Plain")


def test_two_parts_of_one_name_are_told_apart_by_where_they_are():
    twins = [
        dataclass(frozen=True, kw_only=True)(type("Twin", (Wheel,), {"__module__": module}))
        for module in ("first", "second")
    ]
    with pytest.raises(ConfigError, match="Several wheels have that name") as caught:
        chosen(Wheel, "Twin")
    assert caught.value.rest["available"] == ["first:Twin", "second:Twin"]
    assert resolved(Wheel, "second:Twin") is twins[1]
    with handed_over([Free, Iron, *twins[::-1]]):
        assert resolved(Wheel, "moved:Twin") is twins[1]
        assert resolved(Wheel, "moved:Outer.Twin") is twins[1]
        assert resolved(Free, "moved:Free") is Free


def test_what_is_handed_over_counts_while_the_block_runs(unchecked_shapes):
    for parts in (Free, [Free], (Free,), {Free}, frozenset([Free]), [Iron, Free]):
        with handed_over(parts):
            assert resolved(Free, "elsewhere:Free") is Free
        with pytest.raises(ConfigError):
            resolved(Free, "elsewhere:Free")
    for wrong in ([int], ["Free"], 3, [Free()]):
        with pytest.raises(ConfigError, match="no class of a part"), handed_over(wrong):
            pass


def test_an_attribute_of_a_module_is_a_part_only_with_a_capital():
    assert attribute(Wheel, "Iron", module="wheels") is Iron
    for name in ("iron", "Hop", ""):
        with pytest.raises(AttributeError, match=f"module 'wheels' has no attribute '{name}'"):
            attribute(Wheel, name, module="wheels")


def test_all_parts_are_listed_ours_first():
    names = [name for name in available(Wheel) if "Twin" not in name]
    assert names == ["Iron", f"{__name__}:BigOakWheel", f"{__name__}:Hoop"]
    assert [name for name in choices(Wheel) if "Twin" not in name] == names
    assert [one for one in load_all(Wheel) if one.__name__ != "Twin"] == [Iron, BigOakWheel, Hoop]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Hop", None),
        ("__main__:Hop", "hand the class over, parts=[Hop], or move it into a module of its own"),
        ("json:Hop", "json is imported, and defines no wheel Hop: hand the class over, parts=[...]"),
        ("not_there:Hop", "import not_there first (on the command line --plugin not_there)"),
    ],
)
def test_a_file_that_names_an_unknown_part_is_refused_with_how_to_hand_it_over(name, hint):
    with pytest.raises(ConfigError) as caught:
        resolved(Wheel, name)
    assert hint is None or hint in caught.value.rest["hint"]
    assert hint is not None or not caught.value.rest["hint"] or "mean" in caught.value.rest["hint"]
    with pytest.raises(ConfigError) as caught:
        from_data({"front": {"type": name}, "back": None}, Cart)
    assert f"type {name!r}, available: Iron, {__name__}:BigOakWheel" in caught.value.rest["got"]
    assert hint is None or hint in caught.value.rest["hint"]


def test_an_open_field_holds_parts_of_its_kind_alone():
    cart = Cart(front=Iron(spokes=8), back=Hoop())
    data = {"front": {"type": "Iron", "spokes": 8}, "back": {"type": f"{__name__}:Hoop"}}
    assert to_data(cart) == data
    assert from_data(data, Cart) == cart
    wrong: list[tuple[Any, str]] = [
        (Plain(), "write @dataclass"),
        (Iron, r"give its settings, not its class: Iron\(\)"),
        (Free(), r"derive it: `class Free\(Wheel\)`"),
        (3, r"derive it: `class int\(Wheel\)`"),
    ]
    for part, hint in wrong:
        with pytest.raises(ConfigError, match=hint):
            to_data(Cart(front=part))
        with pytest.raises(ConfigError, match=hint):
            require_part(Wheel, part)


def test_short_names_are_for_people_and_not_for_files():
    data = {"front": {"type": "iron", "spokes": 3}}
    assert from_data(data, Cart, typed=True).front == Iron(spokes=3)
    train = from_data({"first": {"said": "iron"}, "last": data}, Train, typed=True)
    assert train.last.front == Iron(spokes=3)
    with pytest.raises(ConfigError, match="type 'iron', available: Iron"):
        from_data(data, Cart)
    with pytest.raises(ConfigError, match=r"value of spokes\. got spokes = 0, expected int >= 1"):
        from_data({"front": {"type": "Iron", "spokes": 0}}, Cart)
