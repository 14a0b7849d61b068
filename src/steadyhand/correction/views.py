"""Displaced views: what would be seen beside the path, labelled with the way back.

ALVINN (Pomerleau, 1991) turns each picture into 14 shifted and rotated ones; PilotNet's car (Bojarski et al.,
2016) carries cameras on the left and on the right. Both show a learner states that the driver never visits,
at no cost in labels: the label is geometry, from the driver's own action. For any env that can displace its
sensors (`observe(view_offset=...)`) and knows the way back (`displaced_action`). `collect` takes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from steadyhand.core.description import running
from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller, Decision, Observation, Wrapper
from steadyhand.core.seeding import RowStreams
from steadyhand.correction.view_config import ViewConfig
from steadyhand.data.episode import Branch, Episode, demonstration
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.session import Session, StepEvent


class ViewCamera(Wrapper):
    """Wraps a controller; takes displaced views of every labelled step before it is driven.

    A listener alone would come too late: it hears of a step when the env has moved on. So the views are taken
    while the wrapped controller decides, and `listen`, a listener of the same session, files them.

    Args:
        env: The env of the session.
        controller: Who drives; its label is what the views' labels are derived from.
        config: Which views.

    Raises:
        CapabilityError: The env cannot displace its sensors, or does not know the way back.
    """

    def __init__(self, env: BatchEnv, controller: Controller, config: ViewConfig) -> None:
        super().__init__(controller)
        self._env, self._config = env, config
        self._pending: Views | None = None
        self._taken: dict[tuple[int, int], Views] = {}
        spec = env.spec.action
        if spec.num_classes is not None:
            raise CapabilityError(
                "A displaced view needs an action that its displacement can bend; a class cannot be bent.",
                got=f"one of {spec.num_classes} discrete actions",
                expected="continuous actions",
                hint="use an env with continuous actions, or a remedy without views",
            )
        nothing = {name: np.zeros(0, dtype=np.float32) for name in ("lateral", "heading")}
        try:
            config.label(env, np.zeros(0, np.int64), np.zeros((0, *spec.shape), spec.dtype), nothing)
        except CapabilityError as error:
            raise _no_views(env, error) from error

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Let the wrapped controller decide, and take the views."""
        decision = self._inner.act(observation, privileged, rows, generator)
        self._pending = take_views(
            self._env, self._config, rows, decision.label, generator.fork("displaced views")
        )
        return decision

    def listen(self, event: StepEvent) -> None:
        """File the views of a step under its episode."""
        views = self._pending
        assert views is not None, "listen before act: use the same session for both"
        for place in np.flatnonzero(event.decision.label_valid):
            key = int(event.start_index[place]), int(event.time[place])
            self._taken[key] = views.of(int(place))
        self._pending = None

    def branches(self, parents: Sequence[Episode], numbers: Sequence[int]) -> list[Episode]:
        """Return the views of recorded steps as branch episodes.

        Args:
            parents: The recorded episodes; a branch names its parent by position among them.
            numbers: Position of each episode's start in the session's list.
        """
        found: list[Episode] = []
        for position, (parent, number) in enumerate(zip(parents, numbers, strict=True)):
            for step in np.flatnonzero(parent.expert_action_valid):
                views = self._taken[number, int(step)]
                branch = Branch(parent=position, step=int(step))
                found += [
                    _branch(views, view, parent=parent, branch=branch, weight=self._config.weight)
                    for view in range(self._config.per_step)
                ]
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """V views of one step or of each of B steps.

    Attributes:
        observation: Feature -> (V, ...) or (B, V, ...).
        label: (V, A) or (B, V, A) what to do there.
    """

    observation: Mapping[str, np.ndarray]
    label: Shaped[np.ndarray, "..."]

    def of(self, place: int) -> "Views":
        """Return the views of one step."""
        seen = {name: value[place] for name, value in self.observation.items()}
        return Views(observation=seen, label=self.label[place])


def take_views(
    env: BatchEnv,
    config: ViewConfig,
    rows: Int64[np.ndarray, " B"],
    action: Shaped[np.ndarray, "B A"],
    streams: RowStreams,
) -> Views:
    """Return displaced views of `rows` as they are now, and their labels.

    Args:
        env: The env.
        config: Which views.
        rows: (B,) env rows.
        action: (B, A) what the driver does there.
        streams: (B,) streams for the displacements.

    Raises:
        CapabilityError: The env cannot displace its sensors, or does not know the way back.
    """
    offsets = config.offsets(streams)
    seen: list[Mapping[str, np.ndarray]] = []
    labels: list[np.ndarray] = []
    for view in range(config.per_step):
        offset = {name: np.ascontiguousarray(value[:, view]) for name, value in offsets.items()}
        try:
            seen.append(env.observe(rows, view_offset=offset))
        except CapabilityError as error:
            raise _no_views(env, error) from error
        labels.append(config.label(env, rows, action, offset))
    stacked = {name: np.stack([one[name] for one in seen], axis=1) for name in seen[0]}
    return Views(observation=stacked, label=np.stack(labels, axis=1))


@running()
def spread_of(
    env: BatchEnv, controller: Controller, starts: Sequence[Start], *, seed: int
) -> dict[str, float]:
    """Return how much a driver deviates from the path: `human_lateral_std` [m] and `human_heading_std` [rad].

    Args:
        env: An env that tells "privileged.lateral" and "privileged.heading_error".
        controller: The driver.
        starts: Driven to their ends.
        seed: Seed of the driver's random streams.
    """
    seen: dict[str, list[Float64[np.ndarray, " B"]]] = {"lateral": [], "heading_error": []}
    session = Session(env, controller, starts, seed=seed)
    while (event := session.step()) is not None:
        privileged = env.privileged(event.rows)
        for name, values in seen.items():
            if f"privileged.{name}" not in privileged:
                raise CapabilityError(
                    f"{env.spec.env_id} does not tell where a driver is on the road.",
                    got=sorted(privileged),
                    expected="privileged.lateral and privileged.heading_error",
                    hint="give the deviations as numbers",
                )
            values.append(privileged[f"privileged.{name}"][:, 0].astype(np.float64))
    return {
        "human_lateral_std": float(np.concatenate(seen["lateral"]).std()),
        "human_heading_std": float(np.concatenate(seen["heading_error"]).std()),
    }


def _no_views(env: BatchEnv, error: CapabilityError) -> CapabilityError:
    return CapabilityError(
        f"{env.spec.env_id} has no displaced views.",
        got=str(error).splitlines()[0],
        expected="an env that tells what is seen from a displaced pose, and the action that leads back",
        hint="use an env that can displace its sensors, such as 'car', or a remedy without views",
    )


def _branch(views: Views, view: int, *, parent: Episode, branch: Branch, weight: float) -> Episode:
    return demonstration(
        {name: value[view : view + 1] for name, value in views.observation.items()},
        views.label[view : view + 1],
        control_dt=parent.control_dt,
        truncated=True,
        task=parent.task_at(branch.step),
        provenance=replace(parent.provenance, source="views", outcome="unknown"),
        weight=weight,
        branch=branch,
    )
