"""Any Gymnasium env as a `BatchEnv`: copies stepped in a plain loop, with the capabilities they have."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from steadyhand.core.description import as_made
from steadyhand.core.errors import CapabilityError, ConfigError, EnvError, SpecError
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.envs.faults import (
    Doing,
    as_info,
    as_spec_error,
    broken,
    finite_reward,
    first_observation,
    flag,
    not_finite,
)
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.judge import SuccessJudge
from steadyhand.envs.placing import placed
from steadyhand.envs.spaces import ActionCodec, observation_leaves

SEED_BLOCK = 2**29
FAMILIES: tuple[Family, ...] = ("train", "validation", "test")

AnyEnv = gymnasium.Env[Any, Any]


class GymnasiumEnv(BatchEnv):
    """N copies of a Gymnasium env.

    Success follows `GymnasiumConfig.success`, and is open where nothing tells it. Families are disjoint
    blocks of reset seeds.

    Args:
        config: Which env.
        num_rows: Number of copies.
        factory: Makes one copy, for envs that no Gymnasium id describes; None asks `gymnasium.make`.

    Raises:
        ConfigError: Gymnasium does not know the id, or the env refuses the keyword arguments.
        SpecError: Spaces, control_dt or time limit that cannot be translated.
    """

    checks_itself = True

    def __init__(
        self, config: GymnasiumConfig, *, num_rows: int, factory: Callable[[], AnyEnv] | None = None
    ) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config
        self.num_rows = num_rows
        make = factory or self._make
        made_by = as_made(factory)
        self._envs = [make()]
        self._question = {"factory": made_by, "copy": as_made(self._envs[0])}
        try:
            self._leaves = observation_leaves(self._envs[0].observation_space, config.rename)
            self._codec = ActionCodec(self._envs[0].action_space)
        except (SpecError, AttributeError, NotImplementedError) as error:
            raise as_spec_error(error, env_id=config.env_id) from error
        self.spec = EnvSpec(
            env_id=config.env_id,
            observation={leaf.name: leaf.spec for leaf in self._leaves},
            action=self._codec.spec,
            control_dt=self._control_dt(),
            max_episode_steps=self._time_limit(),
            success=config.success_rule(),
        )
        self.judge = self._judge = SuccessJudge(
            self.spec.success, env_id=config.env_id, num_rows=num_rows, limit=self.spec.max_episode_steps
        )
        self._envs += [make() for _ in range(num_rows - 1)]
        self._seen = {
            leaf.name: np.zeros((num_rows, *leaf.spec.shape), dtype=leaf.spec.dtype) for leaf in self._leaves
        }
        self._numbers = [leaf.name for leaf in self._leaves if leaf.spec.kind == "continuous"]
        self._ended = np.ones(num_rows, dtype=bool)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._seeds = np.zeros(num_rows, dtype=np.int64)

    def question(self) -> dict[str, object]:
        """Return what tells it from other envs: also its factory, and the first copy as it was made."""
        return {"spec": self.spec, "config": self.config, **self._question}

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` reset seeds of a family; a longer list begins with the shorter one."""
        if family not in FAMILIES:
            raise SpecError("There is no such family.", got=family, available=FAMILIES)
        base = FAMILIES.index(family) * SEED_BLOCK
        seeds = (base + derive(seed, family, index) % SEED_BLOCK for index in range(count))
        return tuple(Start(family=family, seed=number) for number in seeds)

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Reset each of `rows` with the seed and options of its start.

        Raises:
            EnvError: The env raised, or returned something else than (observation, info).
        """
        if len(starts) != len(rows):
            raise SpecError("Each row needs one start.", got=len(starts), expected=len(rows))
        for start, row in zip(starts, rows.tolist(), strict=True):
            options = dict(start.options) if start.options else None
            self._seeds[row], self._steps[row] = start.seed, 0
            try:
                answer = self._envs[row].reset(seed=start.seed, options=options)
                self._keep(row, first_observation(answer))
            except (Exception, SystemExit) as error:
                raise self._broken(error, "reset", row) from error
        self._ended[rows] = False
        self._judge.begin(rows)
        self._check_finite(rows, "reset")

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape.
            EnvError: The env raised, or returned what its spaces do not declare, such as NaN.
        """
        self._check_step(actions, rows, self._ended[rows])
        steps = self._steps[rows] + 1
        self._steps[rows] = steps
        is_last = (steps >= self.spec.max_episode_steps).tolist()
        rewards: list[float] = []
        flags: list[tuple[bool, bool]] = []
        infos: list[Any] = []
        for row, action, last in zip(rows.tolist(), actions, is_last, strict=True):
            try:
                observation, gain, stop, cut, info = self._envs[row].step(self._codec.decode(action))
                stop = flag(stop, name="terminated")
                cut = flag(cut, name="truncated") or (last and not stop)
                self._keep(row, observation)
                rewards.append(finite_reward(gain))
                flags.append((stop, cut))
                infos.append(as_info(info))
            except (Exception, SystemExit) as error:
                raise self._broken(error, "step", row) from error
        terminated, truncated = np.array(flags, dtype=bool).reshape(-1, 2).T.copy()
        self._ended[rows] = terminated | truncated
        reward = np.array(rewards)
        self._check_finite(rows, "step")
        success, told = self._judge.judge(
            rows, rewards=reward, infos=infos, terminated=terminated, steps=steps
        )
        return StepResult(
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            success=success & self._ended[rows],
            told=told,
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return what each row's env said last; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        return {name: values[rows] for name, values in self._seen.items()}

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the state of a vector, where it is that of a simulator; see `BatchEnv.place`.

        Raises:
            CapabilityError: It is not, or the env takes no state.
        """
        (name,) = self._seen if len(self._seen) == 1 else ("",)
        for row, values in zip(rows.tolist(), observation.get(name, np.zeros((len(rows), 0))), strict=True):
            env = self._envs[row]
            if self._ended[row]:
                env.reset(seed=0)
            seen = placed(env.unwrapped, values)
            if seen is None:
                raise self._lacks("a state from an observation (place)", such_as="pendulum")
            self._seen[name][row] = seen
        self._ended[rows] = False
        self._steps[rows] = 0
        self._judge.begin(rows)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the env's own picture, resized to the nearest pixel.

        Raises:
            CapabilityError: The env was not made with render_mode="rgb_array".
            EnvError: The env raised, or returned no picture.
        """
        if self._envs[row].render_mode != "rgb_array":
            raise CapabilityError(
                f"{self.spec.env_id} was made without pictures.",
                got=f"render_mode={self._envs[row].render_mode!r}",
                hint='make it with render_mode="rgb_array"',
            )
        try:
            picture = np.asarray(self._envs[row].render())
        except (Exception, SystemExit) as error:
            raise self._broken(error, "render", row) from error
        if picture.ndim != 3 or picture.shape[2] < 3 or picture.dtype != np.uint8:
            raise EnvError(
                f"{self._where('render', row)}: it returned no picture.",
                got=f"{picture.dtype} {picture.shape}",
                expected="uint8 (height, width, 3)",
                hint="correct render, or ask for no films (--videos 0)",
            )
        lines = np.arange(height) * picture.shape[0] // height
        columns = np.arange(width) * picture.shape[1] // width
        return np.ascontiguousarray(picture[lines][:, columns, :3], dtype=np.uint8)

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            env.close()

    def _make(self) -> AnyEnv:
        config = self.config
        try:
            with warnings.catch_warnings():
                # An expert trained on an older version of an env needs that version: asking for it is right.
                warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
                return gymnasium.make(
                    config.env_id,
                    max_episode_steps=config.max_episode_steps,
                    disable_env_checker=True,
                    **config.kwargs,
                )
        except Exception as error:
            raise ConfigError(
                f"Gymnasium cannot make {config.env_id}.",
                got=f"{type(error).__name__}: {error}",
                hint="check the id, its keyword arguments, and that its package is installed",
            ) from error

    def _keep(self, row: int, observation: Any) -> None:
        for leaf in self._leaves:
            self._seen[leaf.name][row] = leaf.read(observation)

    def _check_finite(self, rows: Int64[np.ndarray, " B"], doing: Doing) -> None:
        """Raise EnvError where an observation is NaN or infinite."""
        for name in self._numbers:
            seen = self._seen[name]
            value = seen if len(rows) == self.num_rows else seen[rows]
            if np.count_nonzero(np.isfinite(value)) != value.size:
                raise not_finite(name, value, lambda place: self._where(doing, int(rows[place])))

    def _broken(self, error: BaseException, doing: Doing, row: int) -> EnvError:
        return broken(error, doing, where=self._where(doing, row))

    def _where(self, doing: Doing, row: int) -> str:
        step = f" {self._steps[row]}" if doing == "step" else ""
        return f"{self.spec.env_id} broke in {doing}{step} of row {row} (reset with seed {self._seeds[row]})"

    def _control_dt(self) -> float:
        if self.config.control_dt is not None:
            return self.config.control_dt
        dt = getattr(self._envs[0].unwrapped, "dt", None)
        if isinstance(dt, float | int) and dt > 0:
            return float(dt)
        rate = self._envs[0].metadata.get("render_fps")
        if rate:
            return 1.0 / float(rate)
        raise SpecError(
            f"{self.config.env_id} does not tell its time between two actions.",
            expected='an attribute dt [s] or metadata["render_fps"]',
            hint="set control_dt in GymnasiumConfig",
        )

    def _time_limit(self) -> int:
        spec = self._envs[0].spec
        limit = self.config.max_episode_steps or (spec.max_episode_steps if spec else None)
        if limit is None:
            raise SpecError(f"{self.config.env_id} has no time limit.", hint="set max_episode_steps")
        return limit
