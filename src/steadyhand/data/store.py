"""A folder that episodes are recorded into, a LeRobotDataset v3.0 once it is compacted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from steadyhand.core.codec import to_data
from steadyhand.core.errors import DataError
from steadyhand.core.protocol import OutsideLabels
from steadyhand.core.specs import FeatureSpec
from steadyhand.core.strict import naming
from steadyhand.data import staging
from steadyhand.data.compaction import compact, write_empty_info
from steadyhand.data.dataset import StoredDataset, open_dataset
from steadyhand.data.entries import outcome_header
from steadyhand.data.episode import STEP_COLUMNS, Branch, Episode, EpisodeOrigin
from steadyhand.data.formats.layout import INFO
from steadyhand.data.formats.lerobot import locate
from steadyhand.data.formats.sidecar import Ending
from steadyhand.data.frames import Frames
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.recording import Recording
from steadyhand.data.records import MAGIC, encode, encode_step
from steadyhand.data.spec import ImageFormat, StoreSpec, load_spec, pack_observation, put, save_spec

Flag = bool | np.bool_ | np.ndarray
Number = int | float | np.number | np.ndarray


class EpisodeStore:
    """Records episodes, whole or step by step and several at once, and reads them back.

    Recording appends to a journal at constant cost. A killed process loses no step that `record` has
    returned from: an unfinished episode is kept, truncated, with outcome "interrupted". `compact` turns the
    journal into files that LeRobot opens. One store at a time may record into a folder; readers need no
    lock.

    Use `create` or `open`; a store is a context manager.
    """

    def __init__(self, root: Path, spec: StoreSpec) -> None:
        self.root = root
        self.spec = spec
        self._step = np.zeros((), dtype=spec.step_dtype())
        self._final = np.zeros((), dtype=spec.observation_dtype())
        self._recording: Recording | None = None
        self._replay = False

    @classmethod
    def create(
        cls,
        root: Path | str,
        *,
        observation: Mapping[str, FeatureSpec],
        action: FeatureSpec,
        control_dt: float,
        robot_type: str | None = None,
        image_format: ImageFormat = "png",
        env_id: str = "",
        outside_labels: OutsideLabels = "clipped",
    ) -> "EpisodeStore":
        """Make a new, empty store.

        Args:
            root: Folder; it must not hold a data set yet.
            observation: Feature name -> spec; names begin with "observation.".
            action: Spec of the action.
            control_dt: Time between steps [s]; LeRobot is told the nearest integer of 1 / control_dt.
            robot_type: Robot that is recorded.
            image_format: "png" is lossless; "mp4" is small, and lossy.
            env_id: Env that is recorded.
            outside_labels: What becomes of expert actions outside the action's bounds; a note for readers.

        Raises:
            DataError: A data set is there already, or the specs cannot be stored.
        """
        root = Path(root)
        if (root / INFO).exists():
            raise DataError(
                "There is a data set already.", got=root, hint="open it, or choose another folder"
            )
        spec = StoreSpec(
            observation=dict(observation),
            action=action,
            control_dt=control_dt,
            image_format=image_format,
            env_id=env_id,
            robot_type=robot_type,
            outside_labels=outside_labels,
        )
        journal = root / JOURNAL_PATH
        with naming(root):
            journal.parent.mkdir(parents=True, exist_ok=True)
            journal.write_bytes(MAGIC)
            save_spec(root, spec)
            write_empty_info(root, spec)  # last: it is what makes the folder a data set
        return cls(root, spec)

    @classmethod
    def open(cls, root: Path | str, *, replay: bool = False) -> "EpisodeStore":
        """Open a store to read it or to record more.

        Args:
            root: Folder of the store.
            replay: Whether a recording that was killed is done again from its beginning, in the same order:
                what is there already must come again to the bit and is not written twice, the rest is new.

        Raises:
            DataError: The folder holds no store, or a damaged one.
        """
        root = Path(root)
        spec = load_spec(root)
        if spec is None:
            raise DataError(
                f"{root} is not an episode store.",
                got="no meta/steadyhand/store.json",
                hint="open_dataset reads data sets of other origin; create makes a store",
            )
        store = cls(root, spec)
        store._replay = replay
        return store

    def __enter__(self) -> "EpisodeStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._recording.lengths) if self._recording else self.dataset().num_episodes

    def begin(self, key: int, *, task: str = "", provenance: EpisodeOrigin | None = None) -> None:
        """Open an episode; several may be open under different keys.

        Args:
            key: Names the episode until it ends, such as the env row.
            task: Kept if the episode is interrupted.
            provenance: Kept if the episode is interrupted.

        Raises:
            DataError: An episode is open under this key.
        """
        recording = self._record_mode()
        if key in recording.keys:
            raise DataError("An episode is open under this key.", got=key, hint="call end or discard first")
        header: dict[str, Any] = {"kind": "begin", "episode": recording.next_number, "task": task}
        if provenance is not None:
            header["provenance"] = to_data(provenance)
        recording.writer.append(encode(header))
        recording.keys[key] = recording.next_number
        recording.open_lengths[key] = 0
        recording.next_number += 1

    def record(
        self,
        key: int,
        *,
        observation: Mapping[str, np.ndarray],
        action: np.ndarray,
        expert_action: np.ndarray,
        expert_action_valid: Flag,
        actor: Number,
        intervention: Flag,
        weight: Number,
        reward: Number,
    ) -> None:
        """Append one step to the episode that is open under `key`.

        Args:
            key: Key of an open episode, which `begin` was given.
            observation: Feature name -> (*feature shape), what was seen before the action.
            action: (A,) what was executed.
            expert_action: (A,) what the expert intended; repeats `action` where no expert was asked.
            expert_action_valid: Whether an expert was asked.
            actor: An `Actor`.
            intervention: Whether someone had taken over from the policy.
            weight: Training weight.
            reward: Reward of the step.

        Raises:
            DataError: No open episode, wrong shapes or dtypes, NaN, or an invalid label unlike the action.
        """
        recording, number = self._opened(key)
        step = self._step
        pack_observation(self.spec, observation, step["observation"])
        put(step, "action", action, name="action")
        put(step, "expert_action", expert_action, name="expert_action")
        if not expert_action_valid and not np.array_equal(action, expert_action):
            raise DataError("expert_action must repeat action where expert_action_valid is False.")
        if not (np.isfinite(weight) and np.isfinite(reward)):
            raise DataError("weight and reward must be finite.", got=f"{weight}, {reward}")
        step["expert_action_valid"] = expert_action_valid
        step["actor"] = actor
        step["intervention"] = intervention
        step["weight"] = weight
        step["reward"] = reward
        recording.writer.append(encode_step(number, recording.open_lengths[key], step.tobytes()))
        recording.open_lengths[key] += 1

    def end(
        self,
        key: int,
        *,
        final_observation: Mapping[str, np.ndarray] | None = None,
        terminated: bool,
        truncated: bool,
        success: bool | None = None,
        task: str = "",
        provenance: EpisodeOrigin | None = None,
        branch: Branch | None = None,
    ) -> None:
        """Complete the episode that is open under `key`; it becomes episode `len(store) - 1`.

        Raises:
            DataError: No open episode, no steps, or a final observation or branch that does not fit.
        """
        recording, number = self._opened(key)
        length = recording.open_lengths[key]
        if not length:
            raise DataError("An episode has no steps.", hint="call discard instead of end")
        recording.check_branch(branch, length)
        final = self._packed_final(final_observation)
        origin = provenance or EpisodeOrigin()
        ending = Ending(terminated=terminated, truncated=truncated, success=success, provenance=origin)
        header: dict[str, Any] = {"kind": "end", "episode": number, "length": length}
        header |= outcome_header(ending, task=task) | {"branch": recording.branch_mark(branch)}
        recording.writer.append(encode(header, final))
        recording.forget(key)
        recording.ended(number, length, branch)

    def discard(self, key: int) -> None:
        """Drop the episode that is open under `key`, such as a botched demonstration."""
        recording, number = self._opened(key)
        recording.writer.append(encode({"kind": "abort", "episode": number}))
        recording.forget(key)

    def append(self, episode: Episode) -> None:
        """Record a whole episode; a branch names its parent by its number in this store.

        Raises:
            DataError: It does not fit the store.
        """
        recording = self._record_mode()
        if abs(episode.control_dt - self.spec.control_dt) > 1e-6 * self.spec.control_dt:
            raise DataError(
                "The episode has another control_dt than the store [s].",
                got=episode.control_dt,
                expected=self.spec.control_dt,
            )
        recording.check_branch(episode.branch, len(episode))
        steps = np.zeros(len(episode), dtype=self.spec.step_dtype())
        pack_observation(self.spec, episode.observation, steps["observation"])
        for name in STEP_COLUMNS:
            put(steps, name, getattr(episode, name), name=name)
        final = self._packed_final(episode.final_observation)
        number, branch = recording.next_number, recording.branch_mark(episode.branch)
        header: dict[str, Any] = {"kind": "episode", "episode": number}
        header |= {"final": bool(final), "branch": branch}
        runs = episode.task_runs if episode.step_tasks else ()
        header |= outcome_header(episode, task=episode.task, task_runs=runs)
        recording.writer.append(encode(header, steps.tobytes() + final))
        recording.next_number += 1
        recording.ended(number, len(episode), episode.branch)

    def flush(self) -> None:
        """Force what was recorded to disk."""
        if self._recording is not None:
            self._recording.writer.sync()

    def close(self) -> None:
        """Stop recording; episodes that are still open count as interrupted."""
        recording, self._recording = self._recording, None
        if recording is not None:
            recording.close()

    def compact(self, *, set_damage_aside: bool = False) -> int:
        """Turn the journal into files of the v3.0 layout; earlier files are not touched.

        Either everything moves or, if the process dies, nothing does. Episodes that are open stay open.

        Args:
            set_damage_aside: Whether a damaged journal may be compacted: what can be read moves, and the
                journal as it was is kept beside it, as meta/steadyhand/journal-damaged-<n>.bin.

        Returns:
            Number of episodes moved.

        Raises:
            DataError: The journal is damaged, and nothing was said about what to do.
            OSError: The system refused, such as on a full disk; the journal stays as it is.
        """
        recording = self._record_mode()
        recording.writer.sync()
        dataset = StoredDataset(locate(self.root), spec=self.spec)
        journal = recording.journal
        journal.refresh()
        try:
            with naming(self.root):
                moved = compact(self.root, self.spec, dataset, journal, set_damage_aside=set_damage_aside)
        except BaseException:
            if staging.is_committed(self.root):
                self.close()  # opening it again finishes the change; this journal is history
            raise
        if moved or journal.damages:
            recording.compacted(self.root)
        return moved

    def dataset(self) -> StoredDataset:
        """Return everything recorded so far, journal included, as `open_dataset` does."""
        if self._recording is None:
            return open_dataset(self.root)
        layout = locate(self.root)
        first = len(layout.episodes)
        pending = JournalReader(self.root / JOURNAL_PATH, self.spec, live=True, first=first)
        return StoredDataset(layout, spec=self.spec, pending=pending)

    def episodes(self, indices: Sequence[int] | np.ndarray | None = None) -> list[Episode]:
        """Return episodes, all of them if `indices` is None."""
        return self.dataset().episodes(indices)

    def frames(self, observation: Sequence[str] | None = None) -> Frames:
        """Lay all episodes end to end; see `StoredDataset.frames`."""
        return self.dataset().frames(observation)

    def _record_mode(self) -> Recording:
        if self._recording is None:
            self._recording = Recording(self.root, self.spec, replay=self._replay)
        return self._recording

    def _opened(self, key: int) -> tuple[Recording, int]:
        recording = self._record_mode()
        if key not in recording.keys:
            raise DataError(
                "No episode is open under this key.",
                got=key,
                available=recording.keys,
                hint="call begin first",
            )
        return recording, recording.keys[key]

    def _packed_final(self, observation: Mapping[str, np.ndarray] | None) -> bytes:
        if observation is None:
            return b""
        pack_observation(self.spec, observation, self._final)
        return self._final.tobytes()
