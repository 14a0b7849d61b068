"""Copies of a world, stepped one after the other, as a `BatchEnv`."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import ConfigError, EnvError, SpecError, SteadyhandError
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec, FeatureSpec, image_spec
from steadyhand.envs.base import FAMILIES, BatchEnv, Family, Start, StepResult, require_family
from steadyhand.envs.faults import Doing, broken, not_finite
from steadyhand.envs.worlds.config import WorldConfig
from steadyhand.envs.worlds.world import Facts, Turn, World

SEED_BLOCK = 2**29
"""Seeds of train, validation and test lie in different blocks of this size."""

_SEEN = "observation."
_DRAWN = "observation.images."

T = TypeVar("T")


class WorldEnv(BatchEnv):
    """N copies of a world.

    What a simulator does wrong becomes an `EnvError` that names the copy, the step and the seed of its start:
    an error of its own, a state that is not finite, numbers or pictures of another form than it declares.

    Args:
        config: Which world, and what it shows.
        num_rows: Number of copies.

    Raises:
        ConfigError: The world has no such sense or camera.
    """

    checks_itself = True

    def __init__(self, config: WorldConfig, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config
        self.num_rows = num_rows
        self.worlds: list[World] = [config.world()]
        self.facts = facts = self.worlds[0].facts
        self._senses = [name for name in config.observation if name in facts.senses]
        self._cameras = [name for name in config.observation if name in facts.cameras]
        known = (*facts.senses, *facts.cameras)
        for name in config.observation:
            if name not in known:
                raise ConfigError(f"{facts.env_id} has no such sense or camera.", got=name, available=known)
        self.spec = _spec(facts, config, self._senses, self._cameras)
        self.worlds += [config.world() for _ in range(num_rows - 1)]
        self._low, self._high = (np.array(bound, dtype=np.float32) for bound in _bounds(facts.action))
        self._ended = np.ones(num_rows, dtype=bool)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._seeds = np.zeros(num_rows, dtype=np.int64)
        self._is_closed = False
        self._told_by = (*facts.senses.items(), *facts.privileged.items())
        self._told: dict[int, Mapping[str, np.ndarray]] = {}

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts of a family; a longer list begins with the shorter one."""
        require_family(family)
        base = FAMILIES.index(family) * SEED_BLOCK
        return tuple(
            Start(family=family, seed=base + derive(seed, family, index) % SEED_BLOCK)
            for index in range(count)
        )

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._check_starts(starts, rows, options=self.worlds[0].OPTIONS)
        for start, row in zip(starts, rows.tolist(), strict=True):
            self._told.pop(row, None)
            self._seeds[row] = start.seed
            self._asked("reset", row, lambda world, start=start: world.reset(start))
        self._ended[rows] = False
        self._steps[rows] = 0

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt; actions out of bounds are clipped."""
        self._check_rows(rows)
        self._check_step(actions, rows, self._ended[rows])
        actions = np.clip(actions.astype(np.float32, copy=False), self._low, self._high)
        turns = [self._turn(row, action) for row, action in zip(rows.tolist(), actions, strict=True)]
        reward = np.array([turn.reward for turn in turns], dtype=np.float32)
        if not np.isfinite(reward).all():
            raise not_finite("the reward", reward, lambda place: self._where("step", int(rows[place])))
        self._steps[rows] += 1
        terminated = np.array([turn.terminated for turn in turns], dtype=bool)
        truncated = (self._steps[rows] >= self.spec.max_episode_steps) & ~terminated
        ended = self._ended[rows] = terminated | truncated
        return StepResult(
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            success=np.array([turn.success for turn in turns], dtype=bool) & ended,
            told=None if self.spec.success.is_told else np.zeros(len(rows), dtype=bool),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what `rows` see; pictures are drawn here, and only those that the env shows."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        seen = self._numbers(rows, {f"{_SEEN}{name}": name for name in self._senses})
        height, width = self.config.picture_height, self.config.picture_width
        for camera in self._cameras:
            pictures = [self._picture(row, camera, height=height, width=width) for row in rows.tolist()]
            seen[f"{_DRAWN}{camera}"] = np.array(pictures, dtype=np.uint8).reshape(-1, height, width, 3)
        return seen

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what only experts may see."""
        self._check_rows(rows)
        return self._numbers(rows, {name: name for name in self.facts.privileged})

    def tasks(self, rows: Int64[np.ndarray, " B"]) -> tuple[str, ...]:
        """Return what each row is to do, in words."""
        return tuple(self.worlds[row].instruction() for row in rows.tolist())

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        shots = [self.worlds[row].snapshot() for row in rows.tolist()]
        whole = [shot for shot in shots if shot is not None]
        if len(whole) < len(shots):
            raise self._lacks("snapshots (state / restore)", such_as="tabletop")
        parts = {name: np.array([shot[name] for shot in whole]) for name in (whole[0] if whole else ())}
        return {**parts, "steps": self._steps[rows], "ended": self._ended[rows]}

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the state of a snapshot, bit for bit.

        Raises:
            SpecError: The snapshot is one of another env, or of another number of rows.
        """
        self._check_rows(rows)
        if len(rows):
            self._check_snapshot(state, rows)
        for place, row in enumerate(rows.tolist()):
            own = {name: values[place] for name, values in state.items() if name not in ("steps", "ended")}
            self._told.pop(row, None)
            self.worlds[row].put_back(own)
        self._steps[rows] = state["steps"]
        self._ended[rows] = state["ended"]

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture of the first camera."""
        if not self.facts.cameras:
            raise self._lacks("a picture (render)")
        return self._picture(row, self.facts.cameras[0], height=height, width=width)

    def close(self) -> None:
        """Free every copy; closing twice does nothing more."""
        if not self._is_closed:
            self._is_closed = True
            for world in self.worlds:
                world.close()

    def _asked(self, doing: Doing, row: int, ask: Callable[[World], T]) -> T:
        """Return what a copy answers; an accident names the copy, and an error that is meant passes."""
        try:
            return ask(self.worlds[row])
        except SteadyhandError:
            raise
        except (Exception, SystemExit) as error:
            raise broken(error, doing, where=self._where(doing, row)) from error

    def _turn(self, row: int, action: Float32[np.ndarray, " A"]) -> Turn:
        self._told.pop(row, None)
        world = self.worlds[row]
        try:
            turn, fault = world.step(action), world.fault()
        except SteadyhandError:
            raise
        except (Exception, SystemExit) as error:
            raise broken(error, "step", where=self._where("step", row)) from error
        if fault:
            hint = "try smaller actions; reset the row, whose state is worth nothing now"
            raise EnvError(f"{self._where('step', row)}: {fault}", hint=hint)
        return turn

    def _picture(self, row: int, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        picture = self._asked("render", row, lambda world: world.draw(camera, height=height, width=width))
        if picture.shape != (height, width, 3) or picture.dtype != np.uint8:
            raise self._misshapen(row, camera, picture, f"uint8 {(height, width, 3)}")
        return picture

    def _misshapen(self, row: int, name: str, value: np.ndarray, expected: str) -> EnvError:
        return EnvError(
            f"{self._where('observe', row)}: {name} has the wrong form.",
            got=f"{np.asarray(value).dtype} {np.shape(value)}",
            expected=expected,
            hint="correct the world, or the facts that it states",
        )

    def _check_snapshot(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        expected = {name: value[0] for name, value in self.state(rows[:1]).items()}
        fits = state.keys() == expected.keys() and all(
            np.shape(state[name]) == (len(rows), *np.shape(value)) for name, value in expected.items()
        )
        if not fits:
            raise SpecError(
                f"This is no snapshot of {len(rows)} rows of {self.spec.env_id}.",
                got={name: np.shape(value) for name, value in sorted(state.items())},
                expected={name: (len(rows), *np.shape(value)) for name, value in sorted(expected.items())},
                hint="restore what state() of an env with the same settings returned",
            )

    def _where(self, doing: Doing, row: int) -> str:
        step = f" {self._steps[row]}" if doing == "step" else ""
        return f"{self.spec.env_id} broke in {doing}{step} of row {row} (reset with seed {self._seeds[row]})"

    def _numbers(self, rows: Int64[np.ndarray, " B"], wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
        told = [self._read(row) for row in rows.tolist()] if wanted else []
        specs = {**self.spec.observation, **self.spec.privileged}
        numbers: dict[str, np.ndarray] = {}
        for feature, name in wanted.items():
            spec = specs[feature]
            value = np.array([one[name] for one in told], dtype=spec.dtype).reshape(len(rows), *spec.shape)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise not_finite(feature, value, lambda place: self._where("observe", int(rows[place])))
            numbers[feature] = value
        return numbers

    def _read(self, row: int) -> Mapping[str, np.ndarray]:
        """Return the numbers of a row, which is asked once a step: policies and experts read the same."""
        if row not in self._told:
            numbers = self._asked("observe", row, lambda world: world.numbers())
            for name, spec in self._told_by:
                if name not in numbers:
                    raise EnvError(
                        f"{self._where('observe', row)}: {name} is missing.",
                        got=", ".join(numbers),
                        expected=name,
                        hint="return every sense and every privileged feature of the facts from numbers",
                    )
                if np.shape(numbers[name]) != spec.shape:
                    raise self._misshapen(row, name, numbers[name], f"numbers {spec.shape}")
            self._told[row] = numbers
        return self._told[row]


def _spec(facts: Facts, config: WorldConfig, senses: Sequence[str], cameras: Sequence[str]) -> EnvSpec:
    picture = image_spec(config.picture_height, config.picture_width, 3, drawn=config.quality)
    return EnvSpec(
        env_id=facts.env_id,
        observation={f"{_SEEN}{name}": facts.senses[name] for name in senses}
        | {f"{_DRAWN}{name}": picture for name in cameras},
        privileged=dict(facts.privileged),
        action=facts.action,
        control_dt=facts.control_dt,
        max_episode_steps=config.max_episode_steps or config.step_limit,
        task=facts.task,
        success=facts.success,
    )


def _bounds(action: FeatureSpec) -> tuple[object, object]:
    low = np.full(action.shape, -np.inf) if action.low is None else action.low
    high = np.full(action.shape, np.inf) if action.high is None else action.high
    return low, high
