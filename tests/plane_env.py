"""A point in the plane, an expert on it, and a learner in closed form whose error is known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Start, StepResult
from steadyhand.experts.base import Expert

BOUND = 0.5
COLUMNS = ("action", "expert_action", "expert_action_valid", "actor", "intervention", "weight", "reward")


class Plane(BatchEnv):
    """x_{t+1} = x_t + a_t in the plane; with `classes` the action chooses one of four small steps."""

    def __init__(self, num_rows: int, *, classes: int | None = None, bound: float | None = BOUND) -> None:
        self.num_rows = num_rows
        self.bound = np.inf if bound is None else bound
        box = (
            FeatureSpec(shape=(2,))
            if bound is None
            else FeatureSpec(shape=(2,), low=(-bound,) * 2, high=(bound,) * 2)
        )
        self.spec = EnvSpec(
            env_id="plane",
            observation={STATE: FeatureSpec(shape=(2,))},
            action=box if classes is None else discrete_spec(classes),
            control_dt=0.1,
            max_episode_steps=25,
        )
        self.x = np.zeros((num_rows, 2), dtype=np.float32)
        self.time = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family, count, *, seed=0):
        return tuple(
            Start(
                family=family, seed=i, options={"x": (i * 7 + seed) % 11 - 5.0, "y": (i * 5 + seed) % 7 - 3.0}
            )
            for i in range(count)
        )

    def reset(self, starts, rows):
        self.x[rows] = [[start.options["x"] / 10, start.options["y"] / 10] for start in starts]
        self.time[rows] = 0

    def step(self, actions, rows):
        if self.spec.action.num_classes is None:
            self.x[rows] += np.clip(actions, -self.bound, self.bound)
        else:
            self.x[rows] += 0.05 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)[actions[:, 0]]
        self.time[rows] += 1
        failed = np.abs(self.x[rows]).max(axis=1) > 3
        done = ~failed & (self.time[rows] >= 25)
        return StepResult(
            reward=-np.abs(self.x[rows]).sum(axis=1), terminated=failed, truncated=done, success=done
        )

    def observe(self, rows, *, view_offset=None):
        return {STATE: self.x[rows].copy()}


class Homing(Expert):
    """Steps half way to the centre, cut at the bound; of four steps it takes one of two, by the sign of x."""

    def __init__(self, env: BatchEnv) -> None:
        super().__init__()
        self.discrete = env.spec.action.num_classes is not None

    def action(self, observation, privileged):
        x = observation[STATE]
        if self.discrete:
            return np.where(x[:, :1] > 0, 2, 0).astype(np.int64)
        return np.clip(-0.5 * x, -BOUND, BOUND).astype(np.float32)


class Answers(Controller):
    def __init__(self, learner: "Linear", gain: np.ndarray) -> None:
        self.learner, self.gain = learner, gain

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, self.learner.answer(observation[STATE], self.gain))


class Linear:
    """a = W x by least squares on the steps of positive weight, plus an error W_e x that it cannot help.

    With four steps to choose from it always takes the last one of the expert's.
    """

    memory = ("calls", "die_at")

    def __init__(
        self, env: BatchEnv, error: np.ndarray | None = None, *, die_at: tuple[str, int] | None = None
    ) -> None:
        self.env = env
        self.error = np.zeros((2, 2)) if error is None else error
        self.fitted: list[tuple[str, int]] = []
        self.calls: list[str] = []
        self.die_at = die_at

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.die_at == (what, self.calls.count(what)):
            raise KeyboardInterrupt

    def answer(self, x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        if self.env.spec.action.num_classes is not None:
            return np.full((len(x), 1), 2, dtype=np.int64)
        return (x.astype(np.float64) @ gain.T).astype(np.float32)

    def fit(self, episodes, *, folder: Path, seed, warm_start, marks=None):
        if (folder / "gain.npy").is_file():
            return
        self._call("fit")
        weights = [e.weight for e in episodes] if marks is None else [one.weight for one in marks]
        chosen = np.concatenate(weights) > 0
        self.fitted.append((folder.name, int(chosen.sum())))
        x = np.concatenate([e.observation[STATE] for e in episodes])[chosen].astype(np.float64)
        y = np.concatenate([e.expert_action for e in episodes])[chosen].astype(np.float64)
        folder.mkdir(parents=True, exist_ok=True)
        gain = np.zeros((2, 2)) if y.shape[1] == 1 else np.linalg.lstsq(x, y, rcond=None)[0].T + self.error
        np.save(folder / "gain.npy", gain)

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        return Answers(self, np.load(folder / "gain.npy"))

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        gain = np.load(folder / "gain.npy")
        return [self.answer(episode.observation[STATE], gain) for episode in episodes]

    def loss(self, folder: Path, episodes: Sequence[Episode]) -> float:
        pairs = zip(self.answers(folder, episodes), episodes, strict=True)
        return float(np.mean(np.concatenate([(a - e.expert_action).ravel() for a, e in pairs]) ** 2))

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        self._call("write")
        folder.mkdir(parents=True)
        for number, e in enumerate(episodes):
            columns = {name: getattr(e, name) for name in COLUMNS}
            ending = [e.terminated, e.truncated, e.success is True, e.success is False]
            np.savez(folder / f"{number:03d}.npz", x=e.observation[STATE], ending=ending, **columns)

    def read(self, folder: Path) -> list[Episode] | None:
        if not folder.is_dir():
            return None
        return [self._one(np.load(path)) for path in sorted(folder.glob("*.npz"))]

    @staticmethod
    def _one(data) -> Episode:
        terminated, truncated, success, failure = data["ending"].tolist()
        return Episode(
            observation={STATE: data["x"]},
            **{name: data[name] for name in COLUMNS},
            terminated=terminated,
            truncated=truncated,
            success=True if success else False if failure else None,
            control_dt=0.1,
        )
