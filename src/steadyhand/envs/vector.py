"""Gymnasium's own vector envs, and whatever has their interface, as batched envs.

A vector env steps all of its copies at once, and most reset what has ended by themselves; a `BatchEnv` steps
the rows that are named, and what has ended waits. So every copy is stepped, those that are not named with an
idle action, and what these say is left unheard: a row keeps what it saw last. A row that was still running
when others were stepped without it has moved on; to step it again is refused until it is reset.

Which rows can be reset depends on the autoreset mode (https://farama.org/Vector-Autoreset-Mode):

- DISABLED: any, with their seeds (`options={"reset_mask": ...}`). `GymnasiumConfig` asks for this one.
- NEXT_STEP, SAME_STEP: all at once, with a seed each. While a row runs no other can get a start of its own,
  and that is refused: what such an env resets by itself has no seed, and would be no start of ours.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from jaxtyping import Bool, Int64, Shaped

from steadyhand.core.description import as_made
from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.envs.adapted import AdaptedEnv, Told
from steadyhand.envs.adapter import AnyEnv, draws, made, making, to_film
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.faults import Doing, as_info, broken, finite_reward, first_observation, flag
from steadyhand.envs.gymnasium_config import GymnasiumConfig

_PARTS = ("num_envs", "single_observation_space", "single_action_space", "observation_space", "metadata")


def around(vector: Any, **settings: Any) -> "VectorGymnasiumEnv":
    """Return somebody's vector env as a batched env, under the id that it was made by.

    Args:
        vector: A `gymnasium.vector.VectorEnv`, or what `VectorGymnasiumEnv` takes instead of one.
        settings: Fields of `GymnasiumConfig`, such as `max_episode_steps` where it does not tell its own.
    """
    spec = getattr(vector, "spec", None)
    config = GymnasiumConfig(env_id=spec.id if spec else type(vector).__name__, **settings)
    return VectorGymnasiumEnv(vector, config)


def made_vector(config: GymnasiumConfig, *, num_rows: int) -> "VectorGymnasiumEnv":
    """Return copies that `gymnasium.make_vec` makes in the mode of the settings.

    Raises:
        ConfigError: Gymnasium cannot make them.
        SpecError: Spaces, control_dt or time limit that cannot be translated.
    """
    if num_rows < 1:
        raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
    mode, options = config.vectorization_mode, dict[str, Any](config.kwargs)
    vector: dict[str, Any] = {}
    if mode != "vector_entry_point":
        vector["autoreset_mode"] = AutoresetMode.DISABLED
        options["disable_env_checker"] = True
    if config.max_episode_steps is not None:
        options["max_episode_steps"] = config.max_episode_steps
    one = made(config)
    try:
        with making(config):
            copies = gymnasium.make_vec(
                config.env_id, num_envs=num_rows, vectorization_mode=mode, vector_kwargs=vector, **options
            )
        return VectorGymnasiumEnv(copies, config, single=one)
    finally:
        one.close()


class VectorGymnasiumEnv(AdaptedEnv):
    """The copies of a vector env.

    Args:
        vector: A `gymnasium.vector.VectorEnv`, or something with its interface whose `reset` takes a seed
            for each copy.
        config: Id and rule of success of the env, and what it does not tell itself.
        single: One copy by itself, where `config` makes the very same; then they can be filmed.

    Raises:
        SpecError: It lacks a part of the interface, or does not say how it resets itself; or spaces,
            control_dt or time limit that cannot be translated.
    """

    def __init__(self, vector: Any, config: GymnasiumConfig, *, single: AnyEnv | None = None) -> None:
        lacking = [name for name in _PARTS if not hasattr(vector, name)]
        if lacking:
            raise SpecError(
                "This is no vector env.",
                got=f"{type(vector).__name__} without {', '.join(lacking)}",
                expected="the interface of gymnasium.vector.VectorEnv",
            )
        self._made_of = as_made(None if single else getattr(vector, "env_fns", vector))
        self._vector = vector
        self._mode = _autoreset_mode(vector, config.env_id)
        self._films = single is not None and draws(single.metadata)
        num_rows = int(vector.num_envs)
        super().__init__(
            config,
            num_rows=num_rows,
            single=single or getattr(vector, "envs", (vector,))[0],
            spaces_of=lambda: (vector.single_observation_space, vector.single_action_space),
        )
        spec, shape = self.spec.action, self.spec.action.shape
        rest = np.full(shape, spec.start) if spec.num_classes else spec.clipped(np.zeros(shape, np.float32))
        self._idle = self._codec.decode(rest)
        self._is_over = np.ones(num_rows, dtype=bool)
        self._is_lost = np.zeros(num_rows, dtype=bool)

    def question(self) -> dict[str, object]:
        """Return what tells it from other envs: also its copies, where the settings do not make them."""
        return {"spec": self.spec, "config": self.config, "copies": self._made_of}

    def filmed(self, num_rows: int) -> BatchEnv:
        """Return this env if it draws; otherwise one like it, made to draw if Gymnasium can make it so."""
        if self._render_mode(0) == "rgb_array" or not self._films:
            return self
        return to_film(self.config).build(num_rows)

    def close(self) -> None:
        """Close the copies."""
        self._vector.close()

    def _restart(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        if any(start.options for start in starts):
            raise CapabilityError(
                f"{self.spec.env_id}: a vector env takes no options of single copies.",
                got=next(start.options for start in starts if start.options),
                hint='make it with vectorization_mode="loop"',
            )
        chosen = np.zeros(self.num_rows, dtype=bool)
        chosen[rows] = True
        running = ~(self._ended | self._is_lost | chosen)
        if self._mode != AutoresetMode.DISABLED and running.any():
            raise CapabilityError(
                f"{self.spec.env_id} resets itself ({self._mode.value}): all copies get a start, or none.",
                got=f"a start for row {rows[0]} while row {int(np.flatnonzero(running)[0])} runs",
                hint="make it with autoreset_mode=AutoresetMode.DISABLED, or run no more starts than it has "
                "copies",
            )
        seeds = np.zeros(self.num_rows, dtype=np.int64)
        seeds[rows] = [start.seed for start in starts]
        self._look(self._reset(chosen, seeds), rows, "reset")
        self._is_lost[rows] = False

    def _reset(self, chosen: Bool[np.ndarray, " N"], seeds: Int64[np.ndarray, " N"]) -> Any:
        """Reset the chosen copies, or all where single ones cannot be; return what all of them see."""
        options = {"reset_mask": chosen.copy()} if self._mode == AutoresetMode.DISABLED else None
        with self._blamed("reset"):
            seen = first_observation(self._vector.reset(seed=seeds.tolist(), options=options))
        self._is_over[chosen] = False
        return seen

    def _told(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> Told:
        if self._is_lost[rows].any():
            raise SpecError(
                f"{self.spec.env_id}: a row was left out while others were stepped, and has moved on.",
                got=f"row {rows[self._is_lost[rows]][0]}",
                expected="all rows that run, since a vector env steps them together",
                hint='reset it first, or make the env with vectorization_mode="loop"',
            )
        idle = np.ones(self.num_rows, dtype=bool)
        idle[rows] = False
        asleep = idle & self._is_over
        if self._mode == AutoresetMode.DISABLED and asleep.any():
            self._reset(asleep, np.zeros(self.num_rows, dtype=np.int64))
        with self._blamed("step"):
            given: list[Any] = [self._idle] * self.num_rows
            for row, action in zip(rows.tolist(), actions, strict=True):
                given[row] = self._codec.decode(action)
            space = self._vector.single_action_space
            batch = concatenate(space, given, create_empty_array(space, self.num_rows))
            seen, gains, stops, cuts, infos = self._vector.step(batch)
            infos = as_info(infos)
            terminated = np.array([flag(stop, name="terminated") for stop in stops])
            truncated = np.array([flag(cut, name="truncated") for cut in cuts])
            reward = np.array([finite_reward(gains[row]) for row in rows.tolist()])
        self._look(seen, rows, "step")
        said = [_info(infos, row) for row in rows.tolist()]
        if self._mode == AutoresetMode.SAME_STEP:
            self._look_back(infos, rows, said, (terminated | truncated)[rows])
        self._is_over = terminated | truncated
        self._is_lost |= idle & ~self._ended
        return Told(reward=reward, terminated=terminated[rows], truncated=truncated[rows], infos=said)

    def _look(self, seen: Any, rows: Int64[np.ndarray, " B"], doing: Doing) -> None:
        """Keep what `rows` see, of what all copies see."""
        with self._blamed(doing):
            observations = list(iterate(self._vector.observation_space, seen))
        for row in rows.tolist():
            with self._blamed(doing, row):
                self._keep(row, observations[row])

    def _look_back(
        self,
        infos: Mapping[str, Any],
        rows: Int64[np.ndarray, " B"],
        said: list[dict[str, Any]],
        ended: Bool[np.ndarray, " B"],
    ) -> None:
        """Take what the copies that ended saw and said last: what they show now is of another episode."""
        for place in np.flatnonzero(ended).tolist():
            row = int(rows[place])
            with self._blamed("step", row):
                last = said[place].get("final_obs")
                if last is None:
                    raise SpecError(
                        "It resets itself in the same step, and does not show what was seen last.",
                        got=", ".join(infos) or "an empty info",
                        expected="final_obs in the info",
                    )
                self._keep(row, last)
            said[place] = said[place].get("final_info", {})

    def _render_mode(self, row: int) -> str | None:
        del row
        return getattr(self._vector, "render_mode", None)

    def _drawn(self, row: int) -> Any:
        return self._vector.render()[row]

    @contextmanager
    def _blamed(self, doing: Doing, row: int | None = None) -> Generator[None]:
        """Turn what a copy raises inside into an EnvError."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if row is not None:
                raise self._broken(error, doing, row) from error
            raise broken(error, doing, where=f"{self.spec.env_id} broke in {doing} of its copies") from error


def _autoreset_mode(vector: Any, env_id: str) -> AutoresetMode:
    """Return how a vector env resets what has ended.

    Raises:
        SpecError: It does not say, or what it says is known to be wrong.
    """
    said = (vector.metadata or {}).get("autoreset_mode")
    try:
        mode = AutoresetMode(said)
    except ValueError as error:
        raise SpecError(
            f"{env_id} does not say how its copies are reset, so that one episode could run into the next.",
            got=f"metadata['autoreset_mode'] = {said!r}",
            expected=", ".join(str(mode) for mode in AutoresetMode),
            hint="set it where the env is made",
        ) from error
    copies = getattr(vector, "unwrapped", vector)
    if mode == AutoresetMode.NEXT_STEP and getattr(copies, "shared_memory", True) is False:
        raise SpecError(
            f"{env_id}: an AsyncVectorEnv without shared memory resets a copy again, without its seed, if it "
            "had ended before it was reset.",
            got="shared_memory=False, autoreset_mode=AutoresetMode.NEXT_STEP",
            hint="make it with autoreset_mode=AutoresetMode.DISABLED, or with shared memory",
        )
    return mode


def _info(infos: Mapping[str, Any], row: int) -> dict[str, Any]:
    """Return what one copy said, of what all did: key -> values, with a mask _key of who said it."""
    said: dict[str, Any] = {}
    for key, values in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        if f"_{key}" in infos and not infos[f"_{key}"][row]:
            continue
        said[key] = _info(values, row) if isinstance(values, Mapping) else values[row]
    return said
