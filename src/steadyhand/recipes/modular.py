"""The modular rival of end-to-end driving: camera -> lane pose -> pure pursuit.

A network is taught to see where the lane is, and a controller that was never learnt steers: the pipeline
that behaviour cloning set out to replace (Pomerleau, 1989; Bojarski et al., 2016). One label of it is one
picture with its lane pose; one label of a clone is one picture with the expert's steering.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams, short
from steadyhand.core.specs import ACTION, STATE, FeatureSpec
from steadyhand.data.frames import Frames
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.spec import PATH_AHEAD, PREVIEW
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.artifact import save_policy
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig
from steadyhand.policies.threads import use_threads
from steadyhand.recipes.learner import fitted
from steadyhand.training.config import TrainConfig

_CURVATURES = tuple(f"curvature_{round(100 * ahead)}cm" for ahead in PREVIEW)

LANE_POSE = FeatureSpec(
    shape=(2 + len(PREVIEW),),
    names=("lateral", "heading_error", *_CURVATURES),
    units=("m", "rad", *("1/m" for _ in PREVIEW)),
)
"""Offset and heading against the centre line, and the road's curvature at `PREVIEW` distances ahead."""


def lane_frames(frames: Frames) -> Frames:
    """Return frames whose target is the lane pose instead of the expert's action.

    Args:
        frames: Frames of the car, with "state" beside the camera among its senses.

    Raises:
        CapabilityError: They hold no state to annotate the pictures with.
    """
    spec = frames.observation_spec.get(STATE)
    names = None if spec is None else spec.names
    missing = [name for name in LANE_POSE.names or () if name not in (names or ())]
    if names is None or missing:
        raise CapabilityError(
            "Pictures cannot be annotated with the lane pose.",
            got=", ".join(frames.observation_spec),
            expected=f"{STATE} with {', '.join(LANE_POSE.names or ())}",
            hint="record the car with observation=('state', 'retina')",
        )
    columns = [names.index(name) for name in LANE_POSE.names or ()]
    pose = np.ascontiguousarray(frames.observation[STATE][:, columns])
    return replace(frames, action_spec=LANE_POSE, action=pose, expert_action=pose)


def teach_to_see(
    frames: Frames, folder: Path, *, policy: PolicyConfig, training: TrainConfig, seed: int
) -> PolicyModule:
    """Fit the lane-pose regressor and leave it in `folder`/policy.

    Args:
        frames: Frames of the car, with state and camera.
        folder: Where.
        policy: Configuration of the regressor; `observation` must name the camera alone.
        training: Configuration of the loop; its seed is replaced.
        seed: Seed of initial weights and training.
    """
    settings = replace(training, seed=short(seed))
    network, _ = fitted(lane_frames(frames), policy, settings, weights_seed=seed, folder=folder / "training")
    save_policy(network, folder / "policy")
    return network


class LanePursuit(Controller):
    """Looks for the lane with a network and steers along it by pure pursuit.

    Args:
        network: What `teach_to_see` returned; it must observe one step.
        config: The car.
        lookahead: Look-ahead distance of the pursuit [m].
    """

    sees_privileged = False

    def __init__(self, network: PolicyModule, config: CarConfig, *, lookahead: float = 0.6) -> None:
        if network.spec.action != LANE_POSE or network.config.n_obs_steps != 1:
            raise CapabilityError(
                "This network does not see lanes.",
                got=f"{ACTION} = {network.spec.action.names}, {network.config.n_obs_steps} observed steps",
                expected=f"{LANE_POSE.names} from one observed step",
            )
        self._network = network.eval()
        self._speed = config.speed
        self._pursuit = PurePursuit(config, lookahead=lookahead)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Steer every row."""
        del privileged, generator
        window = {name: observation[name][:, None] for name in self._network.features}
        with use_threads(1):
            pose = self._network.predict_chunk(window)[:, 0].numpy()
        seen = {
            "privileged.path": path_of(pose),
            "privileged.speed": np.full((len(rows), 1), self._speed, dtype=np.float32),
        }
        return Decision.by(Actor.POLICY, self._pursuit.action({}, seen))


def path_of(pose: Float32[np.ndarray, "B 7"]) -> Float32[np.ndarray, "B P 2"]:
    """Return the centre line ahead in the car's frame [m], at the arc lengths `PATH_AHEAD`.

    The heading of the lane is the integral of its curvature, taken as linear between the preview distances
    and constant beyond the last; the points are the integral of the heading (both by the trapezoid rule).
    """
    s = np.concatenate([[0.0], PATH_AHEAD])
    step = np.diff(s)
    curvature = np.stack([np.interp(s, PREVIEW, row) for row in pose[:, 2:]])
    turned = np.cumsum(0.5 * (curvature[:, 1:] + curvature[:, :-1]) * step, axis=1)
    heading = np.concatenate([np.zeros((len(pose), 1)), turned], axis=1) - pose[:, 1:2]
    middle = 0.5 * (heading[:, 1:] + heading[:, :-1])
    # The foot of the perpendicular on the centre line lies at (0, -lateral) in the lane's frame.
    x0, y0 = -np.sin(pose[:, 1:2]) * pose[:, :1], -np.cos(pose[:, 1:2]) * pose[:, :1]
    x = x0 + np.cumsum(np.cos(middle) * step, axis=1)
    y = y0 + np.cumsum(np.sin(middle) * step, axis=1)
    return np.stack([x, y], axis=-1).astype(np.float32)
