"""Digests tell whole files from damaged ones, and one content from another."""

import hashlib
import json

import numpy as np
import pytest

from steadyhand.core import digests
from steadyhand.core.digests import (
    Digest,
    check_files,
    contents_digest,
    data_digest,
    file_digest,
    file_digests,
    sealed,
    unsealed,
)
from steadyhand.core.errors import ArtifactError, DataError


def test_a_file_has_the_digest_that_sha256sum_prints(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "abc") == f"3:{known}"
    assert file_digests(tmp_path, ["abc"]) == {"abc": f"3:{known}"}


def test_files_are_told_from_damaged_ones_by_size_then_by_bytes(tmp_path):
    names = ["a", "b"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 10)
    noted = file_digests(tmp_path, names)
    check_files(tmp_path, noted)
    (tmp_path / "b").write_bytes(b"b" * 9 + b"c")
    with pytest.raises(ArtifactError, match="b is damaged") as caught:
        check_files(tmp_path, noted)
    wrong = hashlib.sha256(b"b" * 9 + b"c").hexdigest()
    assert caught.value.rest["got"] == f"10 bytes, sha256 {wrong[:16]}"
    (tmp_path / "b").write_bytes(b"b" * 101)
    with pytest.raises(ArtifactError, match=r"101 bytes, sha256 \.\.\."):
        check_files(tmp_path, noted)
    (tmp_path / "b").unlink()
    with pytest.raises(ArtifactError, match="There is no file"):
        check_files(tmp_path, noted)
    (tmp_path / "b").mkdir()
    with pytest.raises(ArtifactError, match="a folder"):
        check_files(tmp_path, noted)


def test_plain_data_has_one_digest_whatever_its_order(tmp_path):
    data = {"b": [1, 2.5], "a": {"y": None, "x": "text"}}
    assert data_digest(data) == hashlib.sha256(b'{"a":{"x":"text","y":null},"b":[1,2.5]}').hexdigest()
    with pytest.raises(ValueError, match="float"):
        data_digest({"a": float("nan")})
    kept = json.loads(json.dumps(sealed(data)))
    assert unsealed(kept, path=tmp_path) == data
    for damaged in (data, [kept], None, {**kept, "b": [1]}, {**kept, "c": 1}, {**kept, "sha256": "0"}):
        with pytest.raises(DataError, match=str(tmp_path)):
            unsealed(damaged, path=tmp_path, error=DataError)


def test_a_content_is_its_words_and_arrays_in_order():
    """Words are told apart, wherever one ends and the next begins; arrays by name, dtype and shape too."""
    array = np.arange(6, dtype=np.int32)
    contents = [
        Digest(),
        Digest().text("ab", "c"),
        Digest().text("a", "bc"),
        Digest().text("c", "ab"),
        Digest().array("x", array),
        Digest().array("y", array),
        Digest().array("x", array.reshape(2, 3)),
        Digest().array("x", array.view(np.uint32)),
        Digest().array("x", array + (array == 5)),
        Digest().array("x", array[:5]),
        Digest().array("x", np.zeros((0, 3))),
        Digest().array("x", np.zeros((3, 0))),
        Digest().array("x", np.array(2.0)),
        Digest().array("x", np.array(3.0)),
    ]
    assert len({content.hex() for content in contents}) == len(contents)
    assert {len(content.hex()) for content in contents} == {16}
    assert Digest().text("a", 1).hex() == hashlib.sha256(b"1:a1:1").hexdigest()[:16]
    expected = hashlib.sha256(b"1:x" + b"3:<i4" + b"4:(6,)" + array.tobytes())
    assert Digest().array("x", array).hex() == expected.hexdigest()[:16]
    both = {"b": array, "a": array[:2]}
    assert Digest().arrays(both).hex() == Digest().array("a", array[:2]).array("b", array).hex()


@pytest.mark.parametrize("at_once", [1, 7, 24, 1 << 24])
def test_an_array_has_one_digest_however_it_lies_and_is_read(monkeypatch, at_once):
    values = np.random.default_rng(0).normal(size=(11, 3))
    plain = Digest().array("x", values).hex()
    monkeypatch.setattr(digests, "_AT_ONCE", at_once)
    assert Digest().array("x", np.asfortranarray(values)).hex() == plain
    assert Digest().array("x", np.repeat(values, 2, axis=0)[::2]).hex() == plain


def test_files_together_are_their_names_and_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    paths = [tmp_path / "a", tmp_path / "b"]
    whole = contents_digest(paths)
    assert contents_digest(reversed(paths)) == whole
    assert contents_digest(paths[:1]) != whole
    (tmp_path / "b").write_bytes(b"c")
    assert contents_digest(paths) != whole
    (tmp_path / "b").write_bytes(b"b")
    assert contents_digest(paths) == whole
    (tmp_path / "b").rename(tmp_path / "c")
    assert contents_digest([tmp_path / "a", tmp_path / "c"]) != whole
