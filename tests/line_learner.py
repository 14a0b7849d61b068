"""A learner whose fit is a line through the origin; it logs what it was asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from point_env import PointEnv
from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE
from steadyhand.correction.marks import Marks
from steadyhand.data.episode import Episode, demonstration
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig, PolicySpec


class Gain(Controller):
    def __init__(self, gain: float) -> None:
        self.gain = gain

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, (self.gain * observation[STATE]).astype(np.float32))


class Line:
    """a = k x by least squares; logs what it was asked, and can die where a test wants it to."""

    memory = ("calls", "die_at")

    def __init__(self, *, die_at: tuple[str, int] | None = None) -> None:
        self.calls: list[tuple] = []
        self.die_at = die_at

    def _maybe_die(self, what: str) -> None:
        self.calls.append((what,))
        if self.die_at == (what, sum(call[0] == what for call in self.calls)):
            raise KeyboardInterrupt

    def fit(
        self,
        episodes: Sequence[Episode],
        *,
        folder: Path,
        seed: int,
        warm_start: Path | None,
        marks: Sequence[Marks] | None = None,
    ) -> None:
        self._maybe_die("fit")
        x, y = self._xy(episodes)
        folder.mkdir(parents=True, exist_ok=True)
        line = {
            "k": float(x @ y / (x @ x)),
            "n": len(x),
            "seed": seed,
            "warm": warm_start and warm_start.name,
        }
        (folder / "line.json").write_text(json.dumps(line))

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        return Gain(json.loads((folder / "line.json").read_text())["k"])

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        k = json.loads((folder / "line.json").read_text())["k"]
        return [(k * episode.observation[STATE]).astype(np.float32) for episode in episodes]

    def loss(self, folder: Path, episodes: Sequence[Episode]) -> float:
        x, y = self._xy(episodes)
        return float(((json.loads((folder / "line.json").read_text())["k"] * x - y) ** 2).mean())

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        self._maybe_die("write")
        folder.mkdir(parents=True)
        for number, episode in enumerate(episodes):
            x, y = self._xy([episode])
            np.savez(folder / f"{number:03d}.npz", x=x, y=y, success=episode.success is not False)

    def read(self, folder: Path) -> list[Episode] | None:
        if not folder.is_dir():
            return None
        episodes = []
        for path in sorted(folder.glob("*.npz")):
            data = np.load(path)
            success = None if bool(data["success"]) else False
            episodes.append(
                demonstration({STATE: data["x"][:, None]}, data["y"], control_dt=0.1, success=success)
            )
        return episodes

    @staticmethod
    def _xy(episodes):
        x = np.concatenate([episode.observation[STATE][:, 0] for episode in episodes])
        y = np.concatenate([episode.expert_action[:, 0] for episode in episodes])
        return x, y


class Shown(Line):
    """Shows all that a learner of nets shows, and learns a line."""

    policy_config = PolicyConfig(encoder=StateMLP(hidden=(4,)))
    policy_spec = PolicySpec.of_env(PointEnv(1).spec)

    def policy(self, folder):
        raise NotImplementedError

    def frames(self, episodes):
        raise NotImplementedError

    def with_input_noise(self, sigma):
        made = Shown()
        made.sigma = sigma
        return made

    def judging(self):
        raise CapabilityError("This head cannot judge.")
