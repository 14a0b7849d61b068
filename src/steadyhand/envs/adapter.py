"""Any Gymnasium env as a `BatchEnv`: copies stepped in a plain loop, with the capabilities they have."""

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.description import as_made
from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.envs.adapted import AdaptedEnv, Told
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.faults import as_info, finite_reward, first_observation, flag
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.placing import placed

AnyEnv = gymnasium.Env[Any, Any]


class GymnasiumEnv(AdaptedEnv):
    """N copies of a Gymnasium env, one after the other.

    Args:
        config: Which env.
        num_rows: Number of copies.
        factory: Makes one copy, for envs that no Gymnasium id describes; None asks `gymnasium.make`.

    Raises:
        ConfigError: Gymnasium does not know the id, or the env refuses the keyword arguments.
        SpecError: Spaces, control_dt or time limit that cannot be translated.
    """

    def __init__(
        self, config: GymnasiumConfig, *, num_rows: int, factory: Callable[[], AnyEnv] | None = None
    ) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        make = factory or (lambda: made(config))
        made_by = as_made(factory)
        one = make()
        self._is_by_id = factory is None
        self._question = {"factory": made_by, "copy": as_made(one)}
        super().__init__(
            config,
            num_rows=num_rows,
            single=one,
            spaces_of=lambda: (one.observation_space, one.action_space),
        )
        self._envs = [one, *(make() for _ in range(num_rows - 1))]

    def question(self) -> dict[str, object]:
        """Return what tells it from other envs: also its factory, and the first copy as it was made."""
        return {"spec": self.spec, "config": self.config, **self._question}

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

    def filmed(self, num_rows: int) -> BatchEnv:
        """Return this env if it draws; otherwise one like it, made to draw if Gymnasium can make it so."""
        one = self._envs[0]
        if one.render_mode == "rgb_array" or not self._is_by_id or not draws(one.metadata):
            return self
        return to_film(self.config).build(num_rows)

    def close(self) -> None:
        """Close every copy."""
        for env in self._envs:
            env.close()

    def _restart(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        for start, row in zip(starts, rows.tolist(), strict=True):
            options = dict(start.options) if start.options else None
            try:
                answer = self._envs[row].reset(seed=start.seed, options=options)
                self._keep(row, first_observation(answer))
            except (Exception, SystemExit) as error:
                raise self._broken(error, "reset", row) from error

    def _told(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> Told:
        rewards: list[float] = []
        flags: list[tuple[bool, bool]] = []
        infos: list[Any] = []
        for row, action in zip(rows.tolist(), actions, strict=True):
            try:
                observation, gain, stop, cut, info = self._envs[row].step(self._codec.decode(action))
                flags.append((flag(stop, name="terminated"), flag(cut, name="truncated")))
                self._keep(row, observation)
                rewards.append(finite_reward(gain))
                infos.append(as_info(info))
            except (Exception, SystemExit) as error:
                raise self._broken(error, "step", row) from error
        terminated, truncated = np.array(flags, dtype=bool).reshape(-1, 2).T.copy()
        return Told(reward=np.array(rewards), terminated=terminated, truncated=truncated, infos=infos)

    def _render_mode(self, row: int) -> str | None:
        return self._envs[row].render_mode

    def _drawn(self, row: int) -> Any:
        return self._envs[row].render()


def made(config: GymnasiumConfig) -> AnyEnv:
    """Return one copy.

    Raises:
        ConfigError: Gymnasium does not know the id, or the env refuses the keyword arguments.
    """
    with making(config):
        return gymnasium.make(
            config.env_id,
            max_episode_steps=config.max_episode_steps,
            disable_env_checker=True,
            **config.kwargs,
        )


@contextmanager
def making(config: GymnasiumConfig) -> Generator[None]:
    """Turn what `gymnasium.make` raises inside into a ConfigError."""
    try:
        with warnings.catch_warnings():
            # An expert trained on an older version of an env needs that version: asking for it is right.
            warnings.filterwarnings("ignore", ".*is out of date", DeprecationWarning)
            yield
    except Exception as error:
        raise ConfigError(
            f"Gymnasium cannot make {config.env_id}.",
            got=f"{type(error).__name__}: {error}",
            hint="check the id, its keyword arguments, and that its package is installed",
        ) from error


def draws(metadata: Mapping[str, Any]) -> bool:
    """Whether an env can be made to draw."""
    return "rgb_array" in (metadata.get("render_modes") or ())


def to_film(config: GymnasiumConfig) -> GymnasiumConfig:
    """Return the settings of the same env, made to draw."""
    kwargs = {**config.kwargs, "render_mode": "rgb_array"}
    return replace(config, kwargs=kwargs, vectorization_mode="loop")
