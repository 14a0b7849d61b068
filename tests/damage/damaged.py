"""Damaged copies of everything that the command line reads: a folder and a command line each."""

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Damage = Callable[[Path], None]
"""Spoils the file at a path."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Something sound to be damaged.

    Attributes:
        name: What it is.
        root: File or folder; a copy is made for each case.
        commands: Command lines that read it, with "@" for the copy and "^" for a fresh output path.
        files: Its files, relative to the root; "" where the root is a file.
    """

    name: str
    root: Path
    commands: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One damaged copy.

    Attributes:
        name: Whole, file and damage.
        whole: What is damaged.
        file: Which file of it.
        damage: How.
        command: What is run on it.
    """

    name: str
    whole: Whole
    file: str
    damage: Damage
    command: tuple[str, ...]

    def prepare(self, folder: Path) -> list[str]:
        """Make the damaged copy in `folder` and return the command line that reads it."""
        copy = folder / self.whole.root.name
        if self.whole.root.is_dir():
            shutil.copytree(self.whole.root, copy, symlinks=True)
        else:
            shutil.copy(self.whole.root, copy)
        self.damage(copy / self.file if self.file else copy)
        return [word.replace("@", str(copy)).replace("^", str(folder / "out")) for word in self.command]


def truncated(share: float) -> Damage:
    """Return a damage that keeps the first share of the bytes."""

    def damage(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return damage


def flipped(seed: int, *, bits: int = 1, within: tuple[float, float] = (0.0, 1.0)) -> Damage:
    """Return a damage that flips bits somewhere between two shares of the file."""

    def damage(path: Path) -> None:
        data, draw = bytearray(path.read_bytes()), random.Random(seed)
        low, high = (int(share * max(len(data) - 1, 0)) for share in within)
        for _ in range(bits if data else 0):
            data[draw.randint(low, high)] ^= 1 << draw.randrange(8)
        path.write_bytes(data)

    return damage


def written(data: bytes) -> Damage:
    """Return a damage that writes other bytes."""
    return lambda path: path.write_bytes(data) and None


def appended(data: bytes) -> Damage:
    """Return a damage that adds bytes at the end."""
    return lambda path: path.write_bytes(path.read_bytes() + data) and None


def replaced_by(make: Callable[[Path], object]) -> Damage:
    """Return a damage that puts something else in the place of the file."""

    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def sparse(path: Path) -> None:
    """Write a file of a terabyte that takes no room."""
    with path.open("wb") as file:
        file.truncate(1 << 40)


ANY_FILE: dict[str, Damage] = {
    "empty": truncated(0.0),
    "first byte": lambda path: path.write_bytes(path.read_bytes()[:1]) and None,
    "half": truncated(0.5),
    "but the last byte": lambda path: path.write_bytes(path.read_bytes()[:-1]) and None,
    "bit in front": flipped(1, within=(0.0, 0.1)),
    "bit in the middle": flipped(2, within=(0.3, 0.7)),
    "bit at the end": flipped(3, within=(0.9, 1.0)),
    "many bits": flipped(4, bits=64),
    "noise": written(random.Random(0).randbytes(4096)),
    "other encoding": written("größer".encode("utf-16")),
    "gone": lambda path: path.unlink(),
    "a folder": replaced_by(Path.mkdir),
    "a FIFO": replaced_by(os.mkfifo),
    "a link to nowhere": replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "an endless device": replaced_by(lambda path: path.symlink_to("/dev/zero")),
    "a terabyte": replaced_by(sparse),
}
"""Damages that need not know the format."""


def leaves(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value of JSON data."""
    if path:
        yield path
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield from leaves(data[key], (*path, key))


def with_leaf(place: int, value: Any) -> Damage:
    """Return a damage that puts a value in the place of one in a JSON file, or in its first line."""

    def damage(path: Path) -> None:
        first, *rest = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        data = json.loads(first)
        ways = list(leaves(data))
        *parents, last = ways[place % len(ways)]
        target = data
        for key in parents:
            target = target[key]
        target[last] = value
        path.write_text("\n".join([json.dumps(data), *rest]) + "\n")

    return damage


def doubled_key(path: Path) -> None:
    """Say the first key of a JSON object twice."""
    text = path.read_text()
    key = next(iter(json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)))
    path.write_text(text.replace("{", "{" + json.dumps(key) + ": null, ", 1))


NESTED = b"[" * 100_000 + b"]" * 100_000
JSON_VALUES: tuple[Any, ...] = (
    None,
    -1,
    10**30,
    float("nan"),
    float("inf"),
    "",
    "../../../etc/passwd",
    "/etc/passwd",
    "\x1b[2J\x1b]0;gone\x07",
    [],
    {},
    True,
    [[[]]],
    "x" * 1_000_000,
)
JSON_FILE: dict[str, Damage] = {
    "nested": written(NESTED),
    "a key twice": doubled_key,
    "no object": written(b"[1, 2, 3]"),
    "a text": written(b'"text"'),
    "a number": written(b"1"),
    "latin-1": written('{"a": "größer"}'.encode("latin-1")),
    "a byte order mark": lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()) and None,
    "two documents": lambda path: path.write_bytes(2 * path.read_bytes()) and None,
}


def with_table(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Return a damage that rewrites a parquet file."""
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def _column(make: Callable[[pa.Table, str], Any], which: int) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        name = table.column_names[which % table.num_columns]
        return table.set_column(table.column_names.index(name), name, pa.array(make(table, name)))

    return change


PARQUET_FILE: dict[str, Damage] = {
    "no rows": with_table(lambda table: table.slice(0, 0)),
    "a row less": with_table(lambda table: table.slice(0, max(table.num_rows - 1, 0))),
    "rows twice": with_table(lambda table: pa.concat_tables([table, table])),
    "no column": with_table(lambda table: table.select([])),
    "other names": with_table(
        lambda table: table.rename_columns([f"x{i}" for i in range(table.num_columns)])
    ),
    "ten million rows": with_table(lambda _: pa.table({"x": np.zeros(10_000_000)})),
    **{
        f"column {which}: {label}": with_table(_column(make, which))
        for which in range(4)
        for label, make in {
            "texts": lambda table, _: ["x"] * table.num_rows,
            "nulls": lambda table, _: pa.nulls(table.num_rows),
            "huge": lambda table, _: [2**62] * table.num_rows,
            "negative": lambda table, _: [-1] * table.num_rows,
            "lists": lambda table, _: [[1.0] * (row % 3) for row in range(table.num_rows)],
            "not a number": lambda table, _: [float("nan")] * table.num_rows,
        }.items()
    },
}


def safetensors_header(header: bytes, *, length: int | None = None) -> Damage:
    """Return a damage that writes another header in front of the tensors."""

    def damage(path: Path) -> None:
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        path.write_bytes(
            struct.pack("<Q", len(header) if length is None else length) + header + data[8 + size :]
        )

    return damage


SAFETENSORS_FILE: dict[str, Damage] = {
    "a header of exabytes": safetensors_header(b"{}", length=1 << 60),
    "no tensor": safetensors_header(b"{}"),
    "a nested header": safetensors_header(NESTED),
    "offsets beyond the end": safetensors_header(
        b'{"a": {"dtype": "F32", "shape": [1000000], "data_offsets": [0, 4000000]}}'
    ),
    "another dtype": safetensors_header(b'{"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}'),
    "a shape of terabytes": safetensors_header(
        b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4]}}'
    ),
}


def npy(header: str, data: bytes = b"") -> bytes:
    """Return the bytes of an .npy file with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def with_member(name: str, data: bytes, *, compress: bool = False) -> Damage:
    """Return a damage that puts another member into a .npz file."""

    def damage(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {one: archive.read(one) for one in archive.namelist()}
        members[name] = data
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
            for one, content in members.items():
                archive.writestr(one, content)

    return damage


def bomb(path: Path) -> None:
    """Put a member into a .npz file that unpacks to four gigabytes of zeros and says so."""
    rows = 1 << 30
    header = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1), }}")
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("action.npy", "w", force_zip64=True) as member,
    ):
        member.write(header)
        for _ in range(rows * 4 // (1 << 26)):
            member.write(bytes(1 << 26))


NPZ_FILE: dict[str, Damage] = {
    "a shape of terabytes": with_member(
        "action.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }")
    ),
    "a negative shape": with_member(
        "action.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")
    ),
    "objects": with_member(
        "action.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", b"cos\n")
    ),
    "a header with code": with_member("action.npy", npy("__import__('os').system('true')")),
    "texts": with_member(
        "action.npy", npy("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }", b"\0" * 16)
    ),
    "complex numbers": with_member(
        "action.npy", npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8)
    ),
    "a scalar": with_member(
        "action.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", b"\0" * 4)
    ),
    "a bent member name": with_member("../../observation.x.npy", npy("{}")),
    "another number of rows": with_member(
        "observation.npy",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", b"\0" * 24),
    ),
    "a bomb": bomb,
}
BY_ENDING: dict[str, dict[str, Damage]] = {
    ".json": JSON_FILE,
    ".jsonl": JSON_FILE,
    ".parquet": PARQUET_FILE,
    ".safetensors": SAFETENSORS_FILE,
    ".npz": NPZ_FILE,
}


def damages_of(file: str, *, seed: int, leaves: int) -> dict[str, Damage]:
    """Return the damages of a file by its ending; JSON files also get `leaves` spoilt values."""
    ending = Path(file).suffix
    found = {**ANY_FILE, **BY_ENDING.get(ending, {})}
    if ending in (".json", ".jsonl"):
        draw = random.Random(f"{seed} {file}")
        for number in range(leaves):
            place, value = draw.randrange(1 << 16), draw.choice(JSON_VALUES)
            found[f"value {number}: {str(value)[:12]!r}"] = with_leaf(place, value)
    return found


def cases(wholes: list[Whole], *, seed: int = 0, leaves: int = 12) -> list[Case]:
    """Return every case; the commands of a whole take turns."""
    found: list[Case] = []
    for whole in wholes:
        for file in whole.files:
            for number, (label, damage) in enumerate(
                damages_of(file or whole.root.name, seed=seed, leaves=leaves).items()
            ):
                command = whole.commands[(number + len(file)) % len(whole.commands)]
                found.append(
                    Case(
                        name=f"{whole.name}/{file or whole.root.name}: {label} ({command[0]} {command[1]})",
                        whole=whole,
                        file=file,
                        damage=damage,
                        command=command,
                    )
                )
    return found
