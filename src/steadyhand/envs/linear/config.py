"""What can be chosen about the linear system."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Positive
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig

if TYPE_CHECKING:
    from steadyhand.envs.linear.env import LinearSystem

SHAPE = ((1.0, -0.1), (-1.6, -1.0))
"""A before scaling: A^2 = 1.16 I, so that both eigenvalues are sqrt(1.16) = 1.077 in size."""

SCALE = {"unstable": 1.0, "stable": 0.86}
INPUT = ((-0.4,), (1.3,))
STATE_COST = (1.0, 100.0)
INPUT_COST = 100.0


@dataclass(frozen=True, kw_only=True)
class LinearConfig(EnvConfig):
    """A linear system that runs away without feedback, and its twin that does not.

    x_{t+1} = A x_t + B u_t, two states and one input, without noise.

    Attributes:
        system: "unstable": A has the spectral radius 1.077, and without feedback every state runs away.
            "stable": 0.86 A, with the radius 0.926; left alone it comes to rest. Feedback that is wrong in
            one direction makes either run away.
        line: Starts lie along this direction; empty draws them all round. Along the slow eigenvector of a
            feedback loop the states stay on one line, and demonstrations say nothing about the other
            direction.
        spread: Standard deviation of the starts.
        limit: An episode fails when a state's norm exceeds this.
        tolerance: An episode succeeds if the last state's norm is below this.
        max_episode_steps: Steps after which it ends.
        control_dt: Time between two actions [s]; the system itself is in discrete time.
    """

    expert: ClassVar[str] = "LqrExpert"
    system: Literal["unstable", "stable"] = "unstable"
    line: tuple[float, ...] = ()
    spread: Positive = 1.0
    limit: Positive = 1e6
    tolerance: Positive = 0.1
    max_episode_steps: Count = 64
    control_dt: Positive = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.line and (len(self.line) != 2 or not np.linalg.norm(self.line) > 0.0):
            raise ConfigError("A line of starts needs a direction.", got=self.line, expected="two numbers")

    @property
    def a(self) -> Float64[np.ndarray, "2 2"]:
        """A, (2, 2)."""
        return SCALE[self.system] * np.array(SHAPE)

    @property
    def b(self) -> Float64[np.ndarray, "2 1"]:
        """B, (2, 1)."""
        return np.array(INPUT)

    @property
    def state_cost(self) -> Float64[np.ndarray, "2 2"]:
        """Q of the cost x'Qx + u'Ru of a step."""
        return np.diag(STATE_COST)

    @property
    def input_cost(self) -> Float64[np.ndarray, "1 1"]:
        """R of the cost x'Qx + u'Ru of a step."""
        return np.array([[INPUT_COST]])

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        return EnvSpec(
            env_id="linear",
            observation={STATE: FeatureSpec(shape=(2,), names=("x1", "x2"), units=("1", "1"))},
            action=FeatureSpec(shape=(1,), names=("u",), units=("1",)),
            control_dt=self.control_dt,
            max_episode_steps=self.max_episode_steps,
            task="Bring the state to rest at the origin.",
            success=SuccessRule(said=f"a state of norm below {self.tolerance:g} at the time limit"),
        )

    def build(self, num_rows: int) -> "LinearSystem":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.linear.env import LinearSystem

        return LinearSystem(self, num_rows=num_rows)
