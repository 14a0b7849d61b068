"""The labelled steps of episodes as arrays: what corrective labels start from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, Shaped

from steadyhand.core.errors import CapabilityError, ConfigError, DataError
from steadyhand.core.seeding import generator
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.episode import Episode
from steadyhand.data.stats import SpreadFloor, array_stats, distance_scale
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.spec import PolicySpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """N labels to be found: where from would `action` have led to the state `target`?

    Attributes:
        parent: (N,) episode.
        step: (N,) step that the label stands in for; `target` is the state of step + 1.
        state: (N, S) the expert's state from which the label is derived: distances and slopes are taken
            there.
        action: (N, A) the label.
        shift: (N, A) how far it lies from the expert's action.
        target: (N, S) the state to be reached.
        stands_for: (N, S) the state of `step`.
    """

    parent: Int64[np.ndarray, " N"]
    step: Int64[np.ndarray, " N"]
    state: Float64[np.ndarray, "N S"]
    action: Float64[np.ndarray, "N A"]
    shift: Float64[np.ndarray, "N A"]
    target: Float64[np.ndarray, "N S"]
    stands_for: Float64[np.ndarray, "N S"]

    def __len__(self) -> int:
        return len(self.step)


class ExpertSteps:
    """States, actions and transitions of the episodes that are not branches themselves.

    A discrete action is a vector here too, 1 at its class: the residual is then one function of the state for
    each class, whose slopes in the state are all that BackTrack asks for.

    Args:
        episodes: Where from.
        spec: What policies see and do.
        features: Observation features that make the state, side by side; empty takes all vectors.

    Attributes:
        features: Name -> spec of those.
        states: For each episode (T or T + 1, S), the final state last where it was recorded; empty for a
            branch.
        transitions: All executed steps whose next state is known.
        scale: (S,) standard deviation of the state, 1 where it never changes.
        action_scale: (A,) likewise.
        still: (S,) True where the state hardly moves, by the rule of `SpreadFloor`.
    """

    def __init__(self, episodes: Sequence[Episode], spec: PolicySpec, features: tuple[str, ...]) -> None:
        self.features = state_features(spec, features)
        self.spec = spec
        self.episodes = episodes
        self.states = [self._states(episode, number) for number, episode in enumerate(episodes)]
        self.transitions = self._transitions()
        self.scale = spread(self.transitions.state)
        self.action_scale = spread(self.transitions.action)
        moved = array_stats(self.transitions.state)
        self.still: Bool[np.ndarray, " S"] = moved.std <= SpreadFloor().of("", None, moved)

    def back_track(self) -> Points:
        """Return the points of BackTrack: the expert's action at t, leading to the expert's state at t.

        The label stands in for step t - 1, so that a chunk goes on with steps t, t + 1, ... of its episode.
        The first step of an episode has no step before it, and no label.
        """
        return self._points(first=1, lead=0, repeats=1)

    def disturbed(self, *, repeats: int, delta: Float64[np.ndarray, " A"], seed: int) -> Points:
        """Return the points of DisturbedAction: a disturbed action at t, leading to the state of t + 1.

        Only steps at which the expert's action was also executed count: after others, the next state is not
        where the expert would have gone.

        Args:
            repeats: Labels for each step.
            delta: (A,) standard deviation of the disturbance, raw.
            seed: Seed of the draws.
        """
        points = self._points(first=0, lead=1, repeats=repeats)
        drawn = generator(seed, "disturbed actions").standard_normal(points.action.shape) * delta
        action = self.spec.action.clipped(points.action + drawn)
        return replace(points, action=action, shift=action - points.action)

    def restored(self, states: Float32[np.ndarray, "N S"], points: Points) -> Float32[np.ndarray, "N S"]:
        """Return where labels lie, with what hardly moves in the episodes as it was at the step itself."""
        return np.where(self.still, points.stands_for, states).astype(np.float32)

    def split(self, states: Float32[np.ndarray, "N S"]) -> dict[str, np.ndarray]:
        """Return states as observation features, (N, *feature shape)."""
        ends = np.cumsum([feature.size for feature in self.features.values()])[:-1]
        parts = np.split(states, ends, axis=1)
        return {
            name: part.reshape(len(states), *feature.shape)
            for (name, feature), part in zip(self.features.items(), parts, strict=True)
        }

    def joined(self, episode: Episode) -> Float32[np.ndarray, "T S"]:
        """Return the states of an episode, without the final one."""
        return np.concatenate(
            [episode.observation[name].reshape(len(episode), -1) for name in self.features], 1
        )

    def encode(self, action: Shaped[np.ndarray, "N A"]) -> Float32[np.ndarray, "N E"]:
        """Return actions as vectors: themselves, or 1 at their class."""
        count = self.spec.action.num_classes
        if count is None:
            return action.astype(np.float32)
        return np.eye(count, dtype=np.float32)[action[:, 0] - self.spec.action.start]

    def decode(self, vectors: Float64[np.ndarray, "N E"]) -> Shaped[np.ndarray, "N A"]:
        """Return the actions behind vectors, as the env takes them."""
        if self.spec.action.num_classes is None:
            return vectors.astype(np.float32)
        return (vectors.argmax(1) + self.spec.action.start)[:, None].astype(self.spec.action.dtype)

    def labelled(self) -> tuple[Float64[np.ndarray, "N S"], Float64[np.ndarray, "N A"]]:
        """Return the states at which the expert's action is known, and that action."""
        pairs = [
            (
                states[: len(episode)][episode.expert_action_valid],
                self.encode(episode.expert_action[episode.expert_action_valid]),
            )
            for episode, states in zip(self.episodes, self.states, strict=True)
            if episode.branch is None
        ]
        state, action = (np.concatenate(part).astype(np.float64) for part in zip(*pairs, strict=True))
        return state, action

    def _points(self, *, first: int, lead: int, repeats: int) -> Points:
        parts: list[tuple[np.ndarray, ...]] = []
        for number, (episode, states) in enumerate(zip(self.episodes, self.states, strict=True)):
            usable = episode.expert_action_valid & (episode.weight > 0)
            if lead:
                usable &= (episode.action == episode.expert_action).all(axis=1)
            steps = np.flatnonzero(usable[: max(len(states) - lead, 0)])
            steps = np.repeat(steps[steps >= first], repeats)
            before = steps + lead - 1
            parts.append(
                (
                    np.full(len(steps), number),
                    before,
                    states[steps],
                    self.encode(episode.expert_action[steps]),
                    states[before + 1],
                    states[before],
                )
            )
        parent, step, state, action, target, stands_for = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        if len(step) == 0:
            raise DataError(
                "No step of the episodes can be given a corrective label.", hint="ask an expert first"
            )
        wide = action.astype(np.float64)
        return Points(
            parent=parent.astype(np.int64),
            step=step.astype(np.int64),
            state=state.astype(np.float64),
            action=wide,
            shift=np.zeros_like(wide),
            target=target.astype(np.float64),
            stands_for=stands_for.astype(np.float64),
        )

    def _states(self, episode: Episode, number: int) -> Float32[np.ndarray, "T S"]:
        missing = [name for name in self.features if name not in episode.observation]
        if missing:
            raise DataError(
                f"Episode {number} lacks a feature of the state.",
                got=missing[0],
                available=episode.observation,
            )
        states = self.joined(episode)
        if episode.branch is not None:
            return states[:0]
        if episode.final_observation is None:
            return states
        final = [np.asarray(episode.final_observation[name]).reshape(1, -1) for name in self.features]
        return np.concatenate([states, np.concatenate(final, 1)])

    def _transitions(self) -> Transitions:
        moves = [max(len(states) - 1, 0) for states in self.states]
        if sum(moves) == 0:
            raise DataError(
                "There is no transition to learn from.",
                hint="a transition needs two states: episodes of one step need final_observation",
            )
        actions = [
            self.encode(episode.action[:count]) for episode, count in zip(self.episodes, moves, strict=True)
        ]
        return Transitions(
            state=np.concatenate([states[:-1] for states in self.states]),
            action=np.concatenate(actions),
            next_state=np.concatenate([states[1:] for states in self.states]),
        )


def spread(values: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, " S"]:
    """Return the standard deviation of each column; one that hardly moves hardly counts (`SpreadFloor`)."""
    return distance_scale(values)


def state_features(spec: PolicySpec, names: tuple[str, ...]) -> dict[str, FeatureSpec]:
    """Return the features that make the state; empty `names` takes all vectors.

    Raises:
        CapabilityError: There are none, or the actions are neither numbers nor classes.
    """
    if spec.action.kind not in ("continuous", "discrete"):
        raise CapabilityError(
            "Corrective labels need continuous or discrete actions.",
            got=spec.action.kind,
            expected="continuous or discrete",
            hint="use another remedy, such as clean-label noise",
        )
    offered = spec.observation
    vectors = {name: feature for name, feature in offered.items() if feature.kind == "continuous"}
    for name in names:
        if name not in offered:
            raise ConfigError("There is no such observation feature.", got=name, available=offered)
    wrong = [name for name in names if name not in vectors]
    if wrong or not vectors:
        raise CapabilityError(
            "Corrective labels need a state of continuous vectors: a residual is a difference of states.",
            got=wrong[0] if wrong else list(offered),
            expected="features of numbers, neither pictures nor classes",
            available=vectors,
            hint="let the policy see vectors, where the env has them (on the command line --observation "
            "state), or use a remedy that needs no model, such as DAgger",
        )
    return {name: vectors[name] for name in (names or vectors)}
