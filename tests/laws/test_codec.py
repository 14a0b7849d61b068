"""Laws of the codec: what is written is read back, and nothing else is accepted."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steadyhand.core.codec import from_data, load, read_json, save, to_data, write_json
from steadyhand.core.errors import ConfigError

text = st.text(max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@dataclass(frozen=True, kw_only=True)
class Circle:
    radius: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Square:
    side: float
    label: str | None = None


Shape = Circle | Square


@dataclass(frozen=True, kw_only=True)
class Scene:
    name: str
    count: int
    main: Shape
    spare: Shape | None = None
    shapes: tuple[Shape, ...] = ()
    sizes: tuple[int, ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    flags: dict[str, bool] = field(default_factory=dict)
    folder: Path = Path()


shapes = st.builds(Circle, radius=numbers) | st.builds(Square, side=numbers, label=st.none() | text)
scenes = st.builds(
    Scene,
    name=text,
    count=st.integers(),
    main=shapes,
    spare=st.none() | shapes,
    shapes=st.lists(shapes, max_size=3).map(tuple),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    mode=st.sampled_from(["fast", "slow"]),
    flags=st.dictionaries(text, st.booleans(), max_size=3),
    folder=st.sampled_from([Path("a/b"), Path()]),
)


@given(scenes)
def test_written_is_read_back(scene):
    through = json.loads(json.dumps(to_data(scene), allow_nan=False))
    assert from_data(through, Scene) == scene


@given(scenes)
def test_every_field_is_written_and_every_union_is_tagged(scene):
    data = to_data(scene)
    assert set(data) == set(Scene.__dataclass_fields__)
    assert data["main"]["type"] == type(scene.main).__name__
    assert [item["type"] for item in data["shapes"]] == [type(item).__name__ for item in scene.shapes]


@given(shapes)
def test_a_union_at_the_top_is_tagged(shape):
    assert to_data(shape, Shape) == to_data(Scene(name="", count=0, main=shape))["main"]


VALID = to_data(Scene(name="a", count=1, main=Circle(radius=2.0), shapes=(Square(side=1.0),)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "extra"),
        ({"count": "3"}, "got '3', expected int"),
        ({"count": 2.7}, "got 2.7, expected int"),
        ({"count": True}, "got True, expected int"),
        ({"name": None}, "expected str"),
        ({"mode": "medium"}, "medium"),
        ({"main": {"radius": 1.0}}, 'expected an object with a "type"'),
        ({"main": {"type": "Triangle"}}, "available: Circle, Square"),
        ({"main": {"type": "Circle", "radius": True}}, "got True, expected float"),
        ({"main": {"type": "Circle", "side": 1.0}}, "side"),
        ({"main": None}, 'expected an object with a "type"'),
        ({"flags": {"a": 1}}, "got 1, expected bool"),
    ],
)
def test_what_does_not_belong_is_refused_by_name(change, words):
    with pytest.raises(ConfigError) as caught:
        from_data({**VALID, **change}, Scene, source="run.json")
    assert words in str(caught.value)
    assert str(caught.value).startswith("run.json does not describe a Scene.")


def test_every_problem_is_named_at_once():
    with pytest.raises(ConfigError) as caught:
        from_data({**VALID, "count": "x", "extra": 1}, Scene)
    assert "count" in str(caught.value)
    assert "extra" in str(caught.value)


def test_a_missing_field_is_named():
    data = {key: value for key, value in VALID.items() if key != "count"}
    with pytest.raises(ConfigError, match="count"):
        from_data(data, Scene)


def test_a_whole_number_may_stand_for_a_float():
    scene = from_data({**VALID, "main": {"type": "Circle", "radius": 3}}, Scene)
    assert scene.main == Circle(radius=3.0)
    assert isinstance(scene.main.radius, float)


def test_saved_is_loaded(tmp_path):
    scene = Scene(name="\u00fc", count=2, main=Square(side=0.1))
    path = tmp_path / "deep" / "run.json"
    save(path, scene)
    assert load(path, Scene) == scene
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(ConfigError, match="cannot be written"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b'{"a": 1,}', b'{"a": NaN}', b'{"a": -Infinity}']
)
def test_a_broken_file_is_refused(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"is not (JSON|text)"):
        read_json(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no file"):
        load(tmp_path / "run.json", Scene)


def test_a_file_is_text_that_a_person_can_read(tmp_path):
    write_json(tmp_path / "x.json", {"a": [1], "b": "\u00fc"})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    1\n  ],\n  "b": "\\u00fc"\n}\n'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1, "b": 2}, "unknown field b, extra, available: name, count, main"),
        ({"count": "3"}, "got '3', expected int @ $.count"),
        ({"main": {"type": "Circle", "side": 1.0}}, "unknown field side, available: radius @ $.main"),
        ({"main": {"type": "Triangle"}}, "got type 'Triangle', available: Circle, Square @ $.main"),
        ({"main": []}, 'got [], expected an object with a "type" @ $.main'),
        ({"main": {"type": 3}}, "got {'type': 3}, expected an object with a \"type\" @ $.main"),
        ({"mode": "medium"}, "got 'medium', available: fast, slow @ $.mode"),
    ],
)
def test_a_refusal_says_what_it_got_and_where(change, words):
    with pytest.raises(ConfigError) as caught:
        from_data({**VALID, **change}, Scene)
    assert caught.value.rest["got"].startswith(words)
    assert caught.value.rest["hint"] == "compare it with a run.json that this version wrote"


def test_infinities_are_told_of_numbers_alone():
    assert from_data("inf", float) == float("inf")
    assert from_data("-inf", float) == -float("inf")
    assert from_data("inf", str) == "inf"
    with pytest.raises(ConfigError):
        from_data("nan", float)
    with pytest.raises(ConfigError):
        from_data("inf", int)
