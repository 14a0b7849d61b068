"""The open end of a store: who writes it, and what must be remembered to check what comes next."""

from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.data import staging
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.entries import ending_of, outcome_header
from steadyhand.data.episode import Branch
from steadyhand.data.formats.lerobot import locate
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.lock import LOCK_PATH, WriterLock
from steadyhand.data.records import JournalWriter, encode
from steadyhand.data.spec import StoreSpec


class Recording:
    """Holds the writer lock from construction to `close`.

    Args:
        root: The store.
        spec: What it holds.
        replay: Whether the journal is recorded again from its beginning; see `EpisodeStore.open`.

    Attributes:
        writer: Appends to the journal.
        journal: What was in the journal when it was opened; `refresh` reads the rest.
        next_number: Number of the next episode in the journal.
        keys: Key -> number of each open episode.
        open_lengths: Key -> its number of steps.
        lengths: Number of steps of each finished episode of the store.
        is_branch: Whether each of them is a branch.

    Raises:
        DataError: Someone else records, or the store is damaged.
    """

    def __init__(self, root: Path, spec: StoreSpec, *, replay: bool) -> None:
        self.lock = WriterLock(root / LOCK_PATH)
        try:
            staging.apply(root)
            dataset = StoredDataset(locate(root), spec=spec)
            self.journal = JournalReader(root / JOURNAL_PATH, spec, live=True, first=len(dataset.stored))
            journal = self.journal
            if replay and (journal.damages or len(dataset.stored)):
                raise DataError(
                    f"{root} cannot be recorded again from its beginning.",
                    got="a damaged journal" if journal.damages else "episodes that are compacted already",
                    hint="record into another folder; what is there stays as it is",
                )
            self.writer = JournalWriter(root / JOURNAL_PATH, end=journal.writable_end, replay=replay)
            if not replay:
                self._end_interrupted(journal)
        except BaseException:
            self.lock.release()
            raise
        self.keys: dict[int, int] = {}
        self.open_lengths: dict[int, int] = {}
        self.next_number = 0 if replay else journal.next_number
        pending = [] if replay else journal.entries
        self.lengths = [*dataset.stored.lengths, *(entry.length for entry in pending)]
        self.is_branch = [ending.branch is not None for ending in dataset.stored.endings]
        self.is_branch += [entry.branch is not None for entry in pending]
        self._origins: list[tuple[int, int] | None] = [None] * len(dataset.stored)
        self._origins += [(entry.number, entry.start) for entry in pending]

    def _end_interrupted(self, journal: JournalReader) -> None:
        """End the episodes that a killed process left open."""
        for number, pieces in journal.open.items():
            length = pieces[-1].start + pieces[-1].length
            kind = "end" if pieces[0].length else "abort"
            header = {"kind": kind, "episode": number, "length": length, "branch": None}
            outcome = outcome_header(ending_of(pieces[0]), task=pieces[0].header.get("task", ""))
            self.writer.append(encode(header | outcome))
        if journal.open:
            journal.refresh()

    def compacted(self, root: Path) -> None:
        """Go on with the journal that a compaction left."""
        self.writer.close()
        self.writer = JournalWriter(root / JOURNAL_PATH, end=(root / JOURNAL_PATH).stat().st_size)
        self.journal = JournalReader(
            root / JOURNAL_PATH, self.journal.spec, live=True, first=len(self.lengths)
        )
        self._origins = [None] * len(self._origins)

    def close(self) -> None:
        """Force everything to disk and let the next writer in."""
        try:
            self.writer.close()
        finally:
            self.lock.release()

    def forget(self, key: int) -> None:
        """Close the episode that is open under `key`."""
        del self.keys[key]
        del self.open_lengths[key]

    def check_branch(self, branch: Branch | None, length: int) -> None:
        """Raise DataError unless an episode of `length` steps may be this branch."""
        if branch is None:
            return
        parent = branch.parent
        if length != 1:
            raise DataError("A branch episode is one step long.", got=length, expected=1)
        if not 0 <= parent < len(self.lengths) or self.is_branch[parent]:
            raise DataError(
                "A branch points at a parent that is not in the store or is itself a branch.",
                got=parent,
                expected=f"0 to {len(self.lengths) - 1}, appended before its branches",
            )
        if not 0 <= branch.step < self.lengths[parent]:
            raise DataError(
                f"A branch points past the end of episode {parent}.",
                got=branch.step,
                expected=f"0 to {self.lengths[parent] - 1}",
            )

    def branch_mark(self, branch: Branch | None) -> dict[str, int] | None:
        """Return a branch as the journal keeps it: a parent in the same journal by its number there."""
        if branch is None:
            return None
        origin = self._origins[branch.parent]
        if origin is None:
            return {"parent": branch.parent, "step": branch.step}
        number, start = origin
        return {"episode": number, "step": start + branch.step}

    def ended(self, number: int, length: int, branch: Branch | None) -> None:
        """Remember a finished episode."""
        self.lengths.append(length)
        self.is_branch.append(branch is not None)
        self._origins.append((number, 0))
