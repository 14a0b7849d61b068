"""Small forms of parts, and small data sets in closed form, for any features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from steadyhand.core.parts import Part, resolved
from steadyhand.core.specs import IMAGES, STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.heads.config import HeadConfig

P = TypeVar("P", bound=Part)

VECTOR_OBSERVATION: dict[str, FeatureSpec] = {
    STATE: FeatureSpec(shape=(3,)),
    "observation.mode": discrete_spec(4, start=-1),
    "observation.heading": FeatureSpec(shape=(2,), kind="rotation"),
}
OBJECT_OBSERVATION: dict[str, FeatureSpec] = {"observation.objects": FeatureSpec(shape=(3, 4))}
IMAGE_OBSERVATION: dict[str, FeatureSpec] = {IMAGES + "front": image_spec(12, 14, 1)}
CONTINUOUS_ACTION = FeatureSpec(shape=(2,))
DISCRETE_ACTION = discrete_spec(3, start=1)


@dataclass(frozen=True, kw_only=True)
class PolicyClass:
    """A head as a column of the table of remedies and policy classes.

    Attributes:
        head: The head, small.
        is_discrete: Whether it chooses one of some classes; else it answers with numbers.
    """

    head: HeadConfig
    is_discrete: bool


def toys(kind: type[P]) -> list[P]:
    """Return the small forms of every part of a kind that comes with steadyhand."""
    return [toy for name in kind.ours for toy in resolved(kind, name).toys()]


def policy_classes() -> dict[str, PolicyClass]:
    """Return every head of ours by name, in its first small form; those that do numbers and classes twice."""
    found: dict[str, PolicyClass] = {}
    for name in HeadConfig.ours:
        head = resolved(HeadConfig, name).toys()[0]
        for number, actions in enumerate(head.actions):
            label = f"{name}, {actions}" if number else name
            found[label] = PolicyClass(head=head, is_discrete=actions == "discrete")
    return found


def toy_frames(
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    *,
    num_episodes: int = 3,
    length: int = 7,
) -> Frames:
    """Return episodes whose features and actions are waves of different frequency; no two steps are alike."""
    episodes = [
        demonstration(
            {
                name: _wave(spec, first, length, phase=float(index))
                for index, (name, spec) in enumerate(observation.items())
            },
            _wave(action, first, length, phase=0.3),
            control_dt=0.1,
        )
        for first in range(0, num_episodes * length, length)
    ]
    return Frames.from_episodes(episodes, observation_spec=observation, action_spec=action)


def _wave(spec: FeatureSpec, first: int, length: int, *, phase: float) -> np.ndarray:
    """Return (length, *shape) values of the right dtype and range for steps first, first + 1, ..."""
    step = np.arange(first, first + length)[:, None]
    entry = np.arange(spec.size)[None]
    wave = np.sin(0.7 * step + 1.3 * entry + phase + 0.05 * step * entry)
    if spec.num_classes is not None:
        values = spec.start + np.floor((wave + 1.0) / 2.0 * spec.num_classes * 0.999)
    elif spec.kind == "image":
        values = np.round((wave + 1.0) * 127.5)
    else:
        values = wave
    return values.astype(spec.dtype).reshape(length, *spec.shape)
