"""Teach a policy in an env by cloning, by clean-label noise injection, or by DAgger, on equal terms."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from steadyhand.core.codec import read_json, write_json
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig, DaggerResult, RoundRecord, dagger
from steadyhand.correction.noise import NoisyExecution
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.runs import NoiseConfig


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A policy and what it cost.

    Attributes:
        name: Name for tables and plots.
        folder: Holds `policy`.
        labels: Expert labels that were asked for it, those of rounds after the returned one included.
        updates: Gradient updates of this policy; earlier iterates not counted.
        wall_s: Time of collecting and training [s].
        rounds: Rounds of DAgger, otherwise None.
        note: A remark for the table.
    """

    name: str
    folder: Path
    labels: int
    updates: int
    wall_s: float
    rounds: DaggerResult | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class School:
    """What all methods share: env, expert, learner, where to write, and the seed.

    Attributes:
        env: Env for collection and validation.
        expert: Who labels.
        learner: Who learns.
        updates: Gradient updates of each fit.
        folder: Each method gets a folder of its own in it.
        seed: Of everything; the first starts are the same for all methods.
    """

    env: BatchEnv
    expert: Controller
    learner: PolicyLearner
    updates: int
    folder: Path
    seed: int

    def clone(self, *, num_labels: int, num_episodes: int, family: Family = "train") -> Taught:
        """Behaviour cloning of expert demonstrations."""
        return self._offline(
            "cloning", self.expert, num_labels=num_labels, num_episodes=num_episodes, family=family
        )

    def noise(self, config: NoiseConfig) -> Taught:
        """Behaviour cloning of demonstrations whose executed actions were disturbed, with clean labels."""
        return self._offline(
            "noise injection",
            self.disturbed(config),
            num_labels=config.num_labels,
            num_episodes=config.num_episodes,
            family=config.family,
        )

    def disturbed(self, config: NoiseConfig) -> NoisyExecution:
        """Return the expert with its execution disturbed; raises CapabilityError for discrete actions."""
        return NoisyExecution(
            self.expert,
            noise=config.noise,
            action=self.env.spec.action,
            clean_fraction=config.clean_fraction,
        )

    def dagger(
        self,
        config: DaggerConfig,
        *,
        initial: tuple[Episode, ...] = (),
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> Taught:
        """DAgger; see `correction.dagger`."""
        began = time.perf_counter()
        result = dagger(
            self.env,
            self.expert,
            self.learner,
            config=config,
            folder=self.folder / "dagger",
            seed=self.seed,
            initial=initial,
            on_round=None if on_round is None else lambda record, _: on_round(record),
        )
        return Taught(
            name="DAgger",
            folder=result.best_folder,
            labels=result.queries,
            updates=self.updates,
            wall_s=self._wall("dagger", began),
            rounds=result,
            note=f"round {result.best} of {config.rounds}, chosen on validation starts",
        )

    def _offline(
        self, name: str, controller: Controller, *, num_labels: int, num_episodes: int, family: Family
    ) -> Taught:
        began = time.perf_counter()
        key = name.split(maxsplit=1)[0]
        here = self.folder / key
        episodes = self.learner.read(here / "episodes")
        if episodes is None:
            episodes = collect(
                self.env,
                controller,
                self.env.starts(
                    family, num_episodes + num_labels, seed=derive(self.seed, "starts", 1) % 2**31
                ),
                source="demonstration",
                seed=derive(self.seed, "collect", key),
                num_labels=num_labels,
                num_rows=num_episodes,
                max_steps=-(-num_labels // num_episodes),
            )
            self.learner.write(episodes, here / "episodes")
        self.learner.fit(episodes, folder=here, seed=derive(self.seed, "fit", key), warm_start=None)
        return Taught(
            name=name,
            folder=here,
            labels=sum(episode.num_labels for episode in episodes),
            updates=self.updates,
            wall_s=self._wall(key, began),
        )

    def _wall(self, key: str, began: float) -> float:
        """Return the time that a method took, kept from the first time that it came to its end [s]."""
        path = self.folder / key / "wall.json"
        if not path.is_file():
            write_json(path, {"wall_s": time.perf_counter() - began})
        return float(read_json(path)["wall_s"])
