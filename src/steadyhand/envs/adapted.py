"""What all ways to run copies of a Gymnasium env share: its spec, its starts, and what its steps say."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from steadyhand.core.errors import CapabilityError, EnvError, SpecError
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec
from steadyhand.envs.base import FAMILIES, BatchEnv, Family, Start, StepResult, require_family
from steadyhand.envs.faults import Doing, as_spec_error, broken, not_finite
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.judge import SuccessJudge
from steadyhand.envs.spaces import ActionCodec, observation_leaves

SEED_BLOCK = 2**29


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the copies said of a step, in the order of the rows.

    Attributes:
        reward: (B,) rewards.
        terminated: (B,) whether the env ended the episode by its own rules.
        truncated: (B,) by the env itself.
        infos: (B,) what each said beside.
    """

    reward: Float64[np.ndarray, " B"]
    terminated: Bool[np.ndarray, " B"]
    truncated: Bool[np.ndarray, " B"]
    infos: Sequence[Any]


class AdaptedEnv(BatchEnv):
    """N copies of a Gymnasium env; a subclass says how they are reset and stepped.

    Success follows `GymnasiumConfig.success`, and is open where nothing tells it. Families are disjoint
    blocks of reset seeds.

    Args:
        config: Which env, its rule of success, and what it does not tell itself.
        num_rows: Number of copies.
        single: One copy, or the copies, for `dt`, `metadata` and `spec`.
        spaces_of: Returns observation and action space of one copy.
    """

    checks_itself = True

    def __init__(
        self,
        config: GymnasiumConfig,
        *,
        num_rows: int,
        single: Any,
        spaces_of: Callable[[], tuple[spaces.Space[Any], spaces.Space[Any]]],
    ) -> None:
        self.config = config
        self.num_rows = num_rows
        try:
            seen, action = spaces_of()
            self._leaves = observation_leaves(seen, config.rename)
            self._codec = ActionCodec(action)
        except (SpecError, AttributeError, NotImplementedError) as error:
            raise as_spec_error(error, env_id=config.env_id) from error
        self.spec = EnvSpec(
            env_id=config.env_id,
            observation={leaf.name: leaf.spec for leaf in self._leaves},
            action=self._codec.spec,
            control_dt=_control_dt(config, single),
            max_episode_steps=_time_limit(config, single),
            success=config.success_rule(),
        )
        self.judge = self._judge = SuccessJudge(
            self.spec.success, env_id=config.env_id, num_rows=num_rows, limit=self.spec.max_episode_steps
        )
        self._seen = {
            leaf.name: np.zeros((num_rows, *leaf.spec.shape), dtype=leaf.spec.dtype) for leaf in self._leaves
        }
        self._numbers = [leaf.name for leaf in self._leaves if leaf.spec.kind == "continuous"]
        self._ended = np.ones(num_rows, dtype=bool)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._seeds = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` reset seeds of a family; a longer list begins with the shorter one."""
        require_family(family)
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
        self._seeds[rows] = [start.seed for start in starts]
        self._steps[rows] = 0
        self._restart(starts, rows)
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
        told = self._told(actions, rows)
        terminated = told.terminated
        truncated = told.truncated | ((steps >= self.spec.max_episode_steps) & ~terminated)
        self._ended[rows] = terminated | truncated
        self._check_finite(rows, "step")
        success, is_told = self._judge.judge(
            rows, rewards=told.reward, infos=told.infos, terminated=terminated, steps=steps
        )
        return StepResult(
            reward=told.reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            success=success & self._ended[rows],
            told=is_told,
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

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the env's own picture, resized to the nearest pixel.

        Raises:
            CapabilityError: The env was not made with render_mode="rgb_array".
            EnvError: The env raised, or returned no picture.
        """
        mode = self._render_mode(row)
        if mode != "rgb_array":
            raise CapabilityError(
                f"{self.spec.env_id} was made without pictures.",
                got=f"render_mode={mode!r}",
                hint='make it with render_mode="rgb_array"',
            )
        try:
            picture = np.asarray(self._drawn(row))
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

    @abstractmethod
    def _restart(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Reset these copies, and keep what they see."""

    @abstractmethod
    def _told(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> Told:
        """Step these copies, keep what they see, and return what else they say."""

    @abstractmethod
    def _render_mode(self, row: int) -> str | None:
        """Return the render mode that the copy was made with."""

    @abstractmethod
    def _drawn(self, row: int) -> Any:
        """Return what the copy draws."""

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


def _control_dt(config: GymnasiumConfig, single: Any) -> float:
    if config.control_dt is not None:
        return config.control_dt
    dt = getattr(getattr(single, "unwrapped", None), "dt", None)
    if isinstance(dt, float | int) and dt > 0:
        return float(dt)
    rate = single.metadata.get("render_fps")
    if rate:
        return 1.0 / float(rate)
    raise SpecError(
        f"{config.env_id} does not tell its time between two actions.",
        expected='an attribute dt [s] or metadata["render_fps"]',
        hint="say it: make(..., control_dt=0.05), on the command line --set env.control_dt=0.05, or "
        "dt = 0.05 in its class",
    )


def _time_limit(config: GymnasiumConfig, single: Any) -> int:
    spec = single.spec
    limit = config.max_episode_steps or (spec.max_episode_steps if spec else None)
    if limit is None:
        raise SpecError(
            f"{config.env_id} has no time limit.",
            hint="say one: make(..., max_episode_steps=200), on the command line --set "
            "env.max_episode_steps=200, or max_episode_steps=200 where it is registered",
        )
    return limit
