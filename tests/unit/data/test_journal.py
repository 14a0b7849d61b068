"""What is read of a journal, record by record: its pieces, their numbers, and what damage leaves of them."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core.errors import DataError
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Branch, EpisodeOrigin
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.records import MAGIC, MARK, encode, encode_step
from steadyhand.data.spec import load_spec
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, assert_same, end_of, episode, record_steps


def new_store(root: Path) -> EpisodeStore:
    return EpisodeStore.create(root, observation=OBSERVATION, action=ACTION_SPEC, control_dt=0.1)


def reader_of(root: Path, *, live: bool = False, first: int = 0) -> JournalReader:
    spec = load_spec(root)
    assert spec is not None
    return JournalReader(root / JOURNAL_PATH, spec, live=live, first=first)


def records_of(root: Path) -> list[bytes]:
    """Return the records of a journal whose payloads hold no mark."""
    data = (root / JOURNAL_PATH).read_bytes()
    places = [i for i in range(len(data)) if data[i : i + len(MARK)] == MARK]
    return [data[first:behind] for first, behind in pairwise([*places, len(data)])]


def write_records(root: Path, records: list[bytes]) -> None:
    (root / JOURNAL_PATH).write_bytes(MAGIC + b"".join(records))


def damaged(record: bytes) -> bytes:
    return record[:-1] + bytes([record[-1] ^ 1])


def recorded(root: Path) -> list[bytes]:
    """Record: whole 0; 1 with six steps between which 2 is begun, given a step and discarded; whole 3."""
    with new_store(root) as store:
        store.append(episode(0, length=2))
        store.begin(0, task="reach", provenance=EpisodeOrigin(source="rollout", seed=7))
        record_steps(store, 0, episode(1, length=6), range(2))
        store.begin(5)
        record_steps(store, 5, episode(2, length=1))
        record_steps(store, 0, episode(1, length=6), range(2, 6))
        store.discard(5)
        store.end(0, **end_of(episode(1, length=6)))
        store.append(episode(3, length=3))
    return records_of(root)


def test_episodes_have_the_numbers_in_which_they_began(tmp_path: Path) -> None:
    recorded(tmp_path)
    journal = reader_of(tmp_path)
    assert [(entry.number, entry.length) for entry in journal.entries] == [(0, 2), (1, 6), (3, 3)]
    assert (journal.next_number, journal.orphans, journal.open) == (4, 0, {})
    assert journal.lengths == [2, 6, 3]
    assert (journal.cut, journal.damages) == (0, [])
    assert journal.end == (tmp_path / JOURNAL_PATH).stat().st_size
    assert [one.task for one in journal[1:]] == [episode(1).task, episode(3).task]


@pytest.mark.parametrize("lost", ["begin", "everything but one step"])
def test_a_number_is_not_used_again_though_only_a_step_bears_it(tmp_path: Path, lost: str) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        store.begin(0, task="reach")
        record_steps(store, 0, episode(1, length=2))
    whole, begin, first, second = records_of(tmp_path)
    write_records(tmp_path, [whole, damaged(begin), damaged(first) if lost != "begin" else first, second])
    journal = reader_of(tmp_path)
    assert journal.next_number == 2
    assert [(entry.number, entry.start, entry.length) for entry in journal.entries] == [
        (0, 0, 5),
        (1, 0, 2) if lost == "begin" else (1, 1, 1),
    ]


def test_a_reader_goes_on_where_it_ended(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        journal = reader_of(tmp_path, live=True)
        end = journal.end
        store.begin(0)
        record_steps(store, 0, episode(1, length=3), range(2))
        journal.refresh()
        assert (len(journal), [piece.length for piece in journal.open[1]]) == (1, [2])
        record_steps(store, 0, episode(1, length=3), range(2, 3))
        store.end(0, **end_of(episode(1, length=3)))
        journal.refresh()
        assert (journal.lengths, journal.open) == ([5, 3], {})
        assert journal.end > end
        assert_same(journal[1], episode(1, length=3))


def step_of(root: Path) -> bytes:
    spec = load_spec(root)
    assert spec is not None
    return np.zeros((), dtype=spec.step_dtype()).tobytes()


def whole_record(payload: bytes, *, final: bool = False) -> bytes:
    return encode({"kind": "episode", "episode": 0, "final": final, "branch": None}, payload)


@pytest.mark.parametrize(("steps", "rest"), [(0, 0), (0, 1), (0, -1), (1, -1), (1, 1), (2, -1)])
@pytest.mark.parametrize("final", [False, True])
def test_an_episode_of_other_bytes_than_whole_steps_is_refused(
    tmp_path: Path, steps: int, rest: int, *, final: bool
) -> None:
    new_store(tmp_path).close()
    spec = load_spec(tmp_path)
    assert spec is not None
    seen = np.zeros((), dtype=spec.observation_dtype()).tobytes() if final else b""
    size = max(0, steps * len(step_of(tmp_path)) + len(seen) + rest)
    write_records(tmp_path, [whole_record(bytes(size), final=final)])
    with pytest.raises(DataError, match="cannot read"):
        reader_of(tmp_path)
    write_records(tmp_path, [whole_record(step_of(tmp_path) + seen, final=final)])
    assert (reader_of(tmp_path)[0].final_observation is not None) == final


@pytest.mark.parametrize("rest", [1, -1])
def test_a_step_of_another_size_is_refused(tmp_path: Path, rest: int) -> None:
    new_store(tmp_path).close()
    size = len(step_of(tmp_path))
    write_records(tmp_path, [encode_step(0, 0, bytes(size + rest))])
    with pytest.raises(DataError, match=rf"a step of {size + rest} bytes, not {size}"):
        reader_of(tmp_path)


def test_a_record_of_a_kind_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    write_records(tmp_path, [encode({"kind": "song", "episode": 0})])
    with pytest.raises(DataError, match="kind 'song'"):
        reader_of(tmp_path)


@pytest.mark.parametrize("kind", ["empty", "other", "folder"])
def test_what_is_no_journal_is_refused(tmp_path: Path, kind: str) -> None:
    new_store(tmp_path).close()
    (tmp_path / JOURNAL_PATH).write_bytes(b"" if kind == "empty" else b"SHJRNL1\n and more")
    if kind == "folder":
        (tmp_path / JOURNAL_PATH).unlink()
        (tmp_path / JOURNAL_PATH).mkdir()
    with pytest.raises(DataError, match="is no file" if kind == "folder" else "is not a journal"):
        reader_of(tmp_path)


def test_the_end_of_an_episode_that_damage_took_altogether_is_passed_over(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.begin(0)
        record_steps(store, 0, episode(1, length=1))
        store.end(0, **end_of(episode(1, length=1)))
        store.begin(1)
        store.discard(1)
        store.append(episode(3))
    begin, step, end, other, abort, whole = records_of(tmp_path)
    write_records(tmp_path, [damaged(begin), damaged(step), end, damaged(other), abort, whole])
    journal = reader_of(tmp_path)
    assert (journal.lengths, len(journal.damages)) == ([5], 2)  # two that touch are one
    assert_same(journal[0], episode(3))
    with EpisodeStore.open(tmp_path) as store:
        assert store.compact(set_damage_aside=True) == 1


def test_branches_hang_on_the_piece_that_holds_their_step(tmp_path: Path) -> None:
    whole = episode(1, length=6)
    with new_store(tmp_path) as store:
        store.append(episode(0, length=2))
        store.compact()
        store.begin(0)
        record_steps(store, 0, whole)
        store.end(0, **end_of(whole))
        for step in (1, 3, 4, 5):
            store.append(episode(9, length=1, branch=Branch(parent=1, step=step)))
    records = records_of(tmp_path)  # begin, six steps, end, four branches
    records[1 + 3] = damaged(records[1 + 3])
    write_records(tmp_path, records)
    journal = reader_of(tmp_path, first=1)
    assert [(entry.start, entry.length) for entry in journal.entries] == [(0, 3), (4, 2), *[(0, 1)] * 3]
    wanted = [Branch(parent=1, step=1), Branch(parent=2, step=0), Branch(parent=2, step=1)]
    assert journal.branches == [None, None, *wanted]
    assert journal.orphans == 1
    journal.refresh()
    assert journal.orphans == 1
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(9, length=1, branch=Branch(parent=2, step=1)))
        assert open_dataset(tmp_path).branch.tolist()[-1] == [2, 1]
        store.compact(set_damage_aside=True)
    assert open_dataset(tmp_path).branch.tolist() == [
        *[[-1, -1]] * 3,
        *[[1, 1], [2, 0], [2, 1], [2, 1]],
    ]


@pytest.mark.parametrize(("lost", "length"), [(None, 4), (1, 4), (0, 4), (3, 3)])
def test_who_records_next_ends_what_a_killed_process_left_open(
    tmp_path: Path, lost: int | None, length: int
) -> None:
    with new_store(tmp_path) as store:
        store.begin(0, task="reach", provenance=EpisodeOrigin(source="rollout", seed=7))
        record_steps(store, 0, episode(1, length=4))
        store.begin(1, task="nothing of it")
    records = records_of(tmp_path)  # begin, four steps, begin
    if lost is not None:
        records[1 + lost] = damaged(records[1 + lost])
        write_records(tmp_path, records)
    before = [len(one) for one in reader_of(tmp_path)]
    with EpisodeStore.open(tmp_path) as store:
        store.append(episode(0))
        assert len(store) == len(before) + 1
    journal = reader_of(tmp_path)
    *pieces, last = journal.entries
    assert [piece.length for piece in pieces] == before
    ending = {name: pieces[-1].header.get(name) for name in ("kind", "length", "task", "terminated")}
    assert ending == {"kind": "end", "length": length, "task": "reach", "terminated": False}
    for piece in pieces:
        found = journal[journal.entries.index(piece)]
        assert found.provenance == EpisodeOrigin(source="rollout", seed=7, outcome="interrupted")
        assert (found.truncated, found.terminated, found.success, found.task) == (True, False, None, "reach")
    assert (journal.open, last.number, journal.next_number) == ({}, 2, 3)


def test_open_episodes_outlive_two_compactions(tmp_path: Path) -> None:
    running = episode(4, length=6)
    with new_store(tmp_path) as store:
        store.begin(0, task="reach")
        for number, (parent, moved) in enumerate([(0, 1), (3, 3)]):
            record_steps(store, 0, running, range(3 * number, 3 * number + 3))
            store.append(episode(number))
            assert store.compact() == moved
            for branch in (Branch(parent=0, step=2), Branch(parent=parent, step=3)):
                store.append(episode(9, length=1, branch=branch))
        assert store.dataset().num_episodes == 6
        store.end(0, **end_of(running))
        assert store.compact() == 3
    dataset = open_dataset(tmp_path)
    assert dataset.lengths.tolist() == [5, 1, 1, 5, 1, 1, 6]
    assert dataset.branch[:, 0].tolist() == [-1, 0, 0, -1, 0, 3, -1]
    assert_same(dataset.episode(6), running)


def test_pages_are_given_back_as_they_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_store(tmp_path) as store:
        for _ in range(7):
            store.append(episode(0))
    size = len(records_of(tmp_path)[0])
    given: list[int] = []
    monkeypatch.setattr(JournalReader, "let_go", lambda self: given.append(1))
    monkeypatch.setattr("steadyhand.data.journal._LET_GO", 2 * size)
    journal = reader_of(tmp_path)
    assert len(given) == 2  # behind the third record and behind the sixth
    monkeypatch.setattr("steadyhand.data.journal._BLOCK_EPISODES", 2)
    assert len(list(journal.blocks())) == 4
    assert len(given) == 2 + 4


def test_blocks_hold_the_columns_of_their_episodes_and_none_is_empty(tmp_path: Path) -> None:
    new_store(tmp_path / "empty").close()
    assert list(reader_of(tmp_path / "empty").blocks()) == []
    wanted = [episode(seed, length=2 + seed) for seed in range(3)]  # succeeded, failed, unknown
    with new_store(tmp_path / "d") as store:
        for one in wanted:
            store.append(one)
    ((block, rows),) = reader_of(tmp_path / "d").blocks()
    assert block.lengths.tolist() == [2, 3, 4]
    assert block.succeeded.tolist() == [True, False, False]
    assert block.terminated.tolist() == [True, False, True]
    assert block.truncated.tolist() == [False, True, False]
    assert [ending.success for ending, _ in rows] == [True, False, None]
    assert [final is None for _, final in rows] == [True, False, False]
    assert block.task_runs == [((one.task, len(one)),) for one in wanted]
    np.testing.assert_array_equal(block.steps["action"], np.concatenate([one.action for one in wanted]))


def test_a_reader_keeps_the_journal_that_a_compaction_replaces(tmp_path: Path) -> None:
    with new_store(tmp_path) as store:
        store.append(episode(0))
        journal = reader_of(tmp_path)
        store.compact()
    assert_same(journal[0], episode(0))
    assert (tmp_path / JOURNAL_PATH).read_bytes() == MAGIC


def test_compaction_takes_blocks_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_store(tmp_path / "d") as store:
        for seed in range(5):
            store.append(episode(seed, length=4))
    spec = load_spec(tmp_path / "d")
    assert spec is not None
    journal = JournalReader(tmp_path / "d" / JOURNAL_PATH, spec, live=False)
    size = journal.steps(journal.entries[0]).nbytes
    assert size == 4 * journal.steps(journal.entries[0]).itemsize
    for most, expected in (
        (2 * size, [2, 2, 1]),
        (3 * size - 1, [2, 2, 1]),
        (3 * size, [3, 2]),
        (1, [1] * 5),
    ):
        monkeypatch.setattr("steadyhand.data.journal._BLOCK_BYTES", most)
        assert [len(rows) for _, rows in journal.blocks()] == expected


def test_a_step_that_comes_twice_is_refused(tmp_path: Path) -> None:
    one = episode(0, length=4)
    store = new_store(tmp_path / "d")
    store.begin(0)
    record_steps(store, 0, one, range(3))
    store.flush()
    path = tmp_path / "d" / JOURNAL_PATH
    spec = load_spec(tmp_path / "d")
    assert spec is not None
    journal = JournalReader(path, spec, live=True)
    assert [piece.length for piece in journal.open[0]] == [3]
    data = path.read_bytes()
    last = data.rindex(MARK)
    path.write_bytes(data + data[last:])
    with pytest.raises(DataError, match="step 2 of episode 0 comes twice"):
        JournalReader(path, spec, live=True)


@pytest.mark.parametrize("kind", ["end", "abort"])
def test_the_end_of_an_episode_that_was_never_begun_is_refused(tmp_path: Path, kind: str) -> None:
    new_store(tmp_path / "d").append(episode(0))
    path = tmp_path / "d" / JOURNAL_PATH
    path.write_bytes(path.read_bytes() + encode({"kind": kind, "episode": 7, "length": 1, "branch": None}))
    spec = load_spec(tmp_path / "d")
    assert spec is not None
    with pytest.raises(DataError, match="episode 7, which was never begun"):
        JournalReader(path, spec, live=True)
