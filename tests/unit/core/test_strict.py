"""Files that surprise are errors that name the file and what to do; texts do nothing to a terminal."""

import errno
import os
from pathlib import Path

import pytest

from steadyhand.core.codec import read_json, write_json
from steadyhand.core.errors import ArtifactError, ConfigError, DataError
from steadyhand.core.strict import load_json, naming, os_error, parse_json, plain, read_text, require_file


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "says"), [(fifo, "a named pipe"), (folder, "a folder"), (loop, "cannot be read")]
)
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(make, says: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    make(path)
    with pytest.raises(DataError, match=f"(?s)run.json.*{says}.*do this"):
        read_text(path, error=DataError)
    with pytest.raises(ConfigError, match=f"(?s)run.json.*{says}"):
        read_json(path)


def test_a_device_is_no_file() -> None:
    with pytest.raises(ArtifactError, match="a device"):
        require_file(Path("/dev/zero"), error=ArtifactError)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # takes no space
    with pytest.raises(ConfigError, match=r"(?s)big.json is too large.*1099511627776 bytes"):
        read_json(path)


def test_the_largest_file_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate((1 << 28) + 1)
    with pytest.raises(ConfigError, match=r"(?s)too large.*268435457 bytes.*at most 268435456 bytes"):
        read_json(path)
    path.write_text("abc")
    assert read_text(path, most=3) == "abc"
    with pytest.raises(ConfigError, match="too large"):
        read_text(path, most=2)


@pytest.mark.parametrize(
    ("raised", "got", "hint"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "Permission denied",
            "ask for the right to read",
        ),
        (PermissionError(errno.EPERM, "Not permitted"), "Not permitted", "ask for the right to read"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error", "restore it from a copy"),
        (OSError("in words of its own"), "in words of its own", "restore it from a copy"),
    ],
)
def test_what_the_system_refuses_to_read_is_an_error_with_what_to_do(
    raised: OSError, got: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise raised

    (tmp_path / "x.json").write_text("1")
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(DataError, match=r"x\.json cannot be read") as caught:
        load_json(tmp_path / "x.json", error=DataError)
    assert str(caught.value.rest["got"]) == got
    assert caught.value.rest["hint"].startswith(hint)


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"(?s)cannot be read.*null byte.*restore"):
        read_text(Path("a\0b"), error=DataError)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
        ('{"a": 1, "b": 2, "b": 2}', "the key 'b' stands there twice"),
        ('[{"b": {"c": 1, "d": 2, "c": 1}}]', "the key 'c' stands there twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 50_000, "nested too deeply"),
        ("NaN", "is no JSON number"),
        ("1" * 5000, "is not JSON"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_what_is_no_plain_json_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"(?s)x.json.*{says}"):
        load_json(path, error=DataError)


def test_what_python_writes_for_no_number_is_read_where_that_is_wanted() -> None:
    assert parse_json('{"a": Infinity}', source="It", allows_nan=True) == {"a": float("inf")}
    with pytest.raises(ConfigError, match="It is not JSON"):
        parse_json('{"a": Infinity}', source="It")


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "x.json") == [1]
    (tmp_path / "y.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ConfigError, match=r"y\.json is not text in UTF-8"):
        read_json(tmp_path / "y.json")


def test_a_failed_write_names_the_file_keeps_the_old_one_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})

    def full(self: Path, text: str, **_: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_json(path, {"a": 2})
    monkeypatch.undo()
    assert str(path) in str(os_error(caught.value))
    assert "free space" in str(os_error(caught.value))
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_for_what_is_written(tmp_path: Path) -> None:
    for number in (1, 2):
        write_json(tmp_path / "a" / "b" / "x.json", [number])
        assert read_json(tmp_path / "a" / "b" / "x.json") == [number]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.json"]


def test_a_name_that_an_error_has_is_kept() -> None:
    with pytest.raises(OSError, match="No such file") as caught, naming(Path("outer")):
        Path("/nowhere/inner").read_text()
    assert caught.value.filename == "/nowhere/inner"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pick \u00fcber \u4e2d\n\tcup", "pick \u00fcber \u4e2d\n\tcup"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x7f\x00", "a\\rb\\x7f\\x00"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("half \ud800", "half \\ud800"),
        ("tag \U000e0041", "tag \\U000e0041"),
    ],
)
def test_what_would_steer_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown
