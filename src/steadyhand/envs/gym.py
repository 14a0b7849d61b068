"""Our envs as Gymnasium envs; importing this module registers them.

After `import steadyhand.envs.gym` these work: `gymnasium.make("steadyhand/Car-v0")` and
`gymnasium.make_vec("steadyhand/Car-v0", num_envs=64)`, and likewise every env that comes along: CartPole-v0
is "cart-pole". The id "steadyhand.envs.gym:steadyhand/Car-v0" needs no import. Nothing else in
steadyhand imports this module: Gymnasium is loaded only where it is used.
"""

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import UInt8

from steadyhand.core.errors import SpecError
from steadyhand.envs.base import BatchEnv, Family, Start
from steadyhand.envs.catalogue import BUILT_IN, env_config
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.spaces import feature_space, observation_space, pack

for _name in BUILT_IN:
    gymnasium.register(
        id=f"steadyhand/{''.join(_word.title() for _word in _name.split('-'))}-v0",
        entry_point="steadyhand.envs.gym:OneGym",
        vector_entry_point="steadyhand.envs.gym:ManyGym",
        kwargs={"env_id": _name},
    )


class OneGym(gymnasium.Env[Any, np.ndarray]):
    """One copy of a built-in env; an observation of several features is a Dict by feature name.

    Args:
        env_id: Which env, or its settings.
        render_mode: None or "rgb_array".
        family: Family of the starts.
        options: Fields of the env's config.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012  as declared above

    def __init__(
        self,
        env_id: str | EnvConfig = "car",
        render_mode: str | None = None,
        family: Family = "train",
        **options: Any,
    ) -> None:
        self.render_mode = _check_mode(render_mode)
        settings: Any = env_id  # a dataclass, as all settings are
        config = env_config(env_id, **options) if isinstance(env_id, str) else replace(settings, **options)
        self.batch: BatchEnv = config.build(1)
        self.metadata = {**self.metadata, "render_fps": _fps(self.batch)}
        self.family: Family = family
        self.observation_space = observation_space(self.batch.spec)
        self.action_space = feature_space(self.batch.spec.action)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start anew; `options` are those of the env's `Start`."""
        super().reset(seed=seed)
        start = _draw(self.batch, self.family, self.np_random, options)
        self.batch.reset([start], _ALONE)
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control step; the last step's info holds "is_success", unless nothing tells it."""
        result = self.batch.step(np.asarray(action, dtype=self.batch.spec.action.dtype)[None], _ALONE)
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        success = result.outcome(0) if terminated or truncated else None
        info = {} if success is None else {"is_success": success}
        return self._observe(), float(result.reward[0]), terminated, truncated, info

    def render(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return a picture if the render mode asks for one."""
        return self.batch.render(0) if self.render_mode else None

    def _observe(self) -> Any:
        return pack({name: value[0] for name, value in self.batch.observe(_ALONE).items()})


class ManyGym(VectorEnv[Any, np.ndarray, np.ndarray]):
    """Many copies stepped as one batch; a copy that has ended is reset by the step after.

    Args:
        num_envs: Number of copies.
        env_id: Which env.
        render_mode: None or "rgb_array".
        family: Family of the starts.
        options: Fields of the env's config.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  as declared above
        "render_modes": ["rgb_array"],
        "autoreset_mode": AutoresetMode.NEXT_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        env_id: str = "car",
        render_mode: str | None = None,
        family: Family = "train",
        **options: Any,
    ) -> None:
        self.render_mode = _check_mode(render_mode)
        self.batch = env_config(env_id, **options).build(num_envs)
        self.metadata = {**self.metadata, "render_fps": _fps(self.batch)}
        self.family: Family = family
        self.num_envs = num_envs
        self.single_observation_space = observation_space(self.batch.spec)
        self.single_action_space = feature_space(self.batch.spec.action)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rows = np.arange(num_envs)
        self._ended = np.zeros(num_envs, dtype=bool)
        self._streams: list[np.random.Generator] = []

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start every copy anew; copy i takes seed + i, or the i-th of a list."""
        seeds = seed if isinstance(seed, list) else [None if seed is None else seed + k for k in self._rows]
        if len(seeds) != self.num_envs:
            raise SpecError("Each env needs one seed.", got=len(seeds), expected=self.num_envs)
        if not self._streams or any(number is not None for number in seeds):
            self._streams = [np.random.default_rng(number) for number in seeds]
        self._restart(self._rows, options)
        self._ended[:] = False
        return pack(self.batch.observe(self._rows)), {}

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance the copies that run, and reset those that had ended (reward 0)."""
        alive, over = self._rows[~self._ended], self._rows[self._ended]
        reward = np.zeros(self.num_envs)
        terminated, truncated, success, told = (np.zeros(self.num_envs, dtype=bool) for _ in range(4))
        if len(alive):
            result = self.batch.step(np.asarray(actions, dtype=self.batch.spec.action.dtype)[alive], alive)
            reward[alive], success[alive], told[alive] = result.reward, result.success, result.is_told
            terminated[alive], truncated[alive] = result.terminated, result.truncated
        if len(over):
            self._restart(over, None)
        self._ended = terminated | truncated
        told &= self._ended
        info = {"is_success": success, "_is_success": told} if told.any() else {}
        return pack(self.batch.observe(self._rows)), reward, terminated, truncated, info

    def render(self) -> tuple[UInt8[np.ndarray, "h w 3"], ...] | None:
        """Return one picture a copy if the render mode asks for them."""
        return tuple(self.batch.render(row) for row in range(self.num_envs)) if self.render_mode else None

    def _restart(self, rows: np.ndarray, options: dict[str, Any] | None) -> None:
        starts = [_draw(self.batch, self.family, self._streams[row], options) for row in rows]
        self.batch.reset(starts, rows)


_ALONE = np.zeros(1, dtype=np.int64)


def _draw(
    batch: BatchEnv, family: Family, random: np.random.Generator, options: dict[str, Any] | None
) -> Start:
    start = batch.starts(family, 1, seed=int(random.integers(2**31)))[0]
    if not options:
        return start
    return Start(family=family, seed=start.seed, options={**start.options, **options})


def _fps(batch: BatchEnv) -> int:
    return round(1.0 / batch.spec.control_dt)


def _check_mode(render_mode: str | None) -> str | None:
    if render_mode not in (None, "rgb_array"):
        raise SpecError("There is no such render mode.", got=render_mode, available=(None, "rgb_array"))
    return render_mode
