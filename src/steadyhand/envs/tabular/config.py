"""What can be chosen about a tabular env."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, assert_never

from steadyhand.core.settings import Count, Range, Share
from steadyhand.core.specs import STATE, EnvSpec, discrete_spec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.tabular.layouts import cliff, fall_once, grid, tight, tree
from steadyhand.envs.tabular.mdp import Contexts, FiniteMDP

if TYPE_CHECKING:
    from steadyhand.envs.tabular.env import TabularEnv

Layout = Literal["grid", "tight", "cliff", "unrecoverable_cliff", "fall_once", "tree"]

CONTEXT = "observation.context"
"""(B, 1) what the state looks like at this step; shown where there is more than one context."""

STEP = "privileged.step"
"""(B, 1) actions taken so far, which the best action near the end of the horizon depends on."""


@dataclass(frozen=True, kw_only=True)
class TabularConfig(EnvConfig):
    """A small MDP whose costs can be computed without sampling; see `envs.tabular.layouts`.

    Attributes:
        layout: Which: "grid" (the lecture's 5 x 5), "tight" (three states), "cliff" (recoverable),
            "unrecoverable_cliff", "fall_once" or "tree".
        horizon: Number of actions.
        slip: Probability of a move to the side, on the grid.
        num_contexts: Number of looks that a state may have.
        context_ratio: How much rarer each context is than the one before.
    """

    expert: ClassVar[str] = "DynamicProgrammingExpert"
    layout: Layout = "grid"
    horizon: Count = 32
    slip: Share = 0.2
    num_contexts: Count = 1
    context_ratio: Annotated[float, Range(gt=0, le=1)] = 0.8

    def mdp(self) -> FiniteMDP:
        """Return the MDP itself, for exact evaluation."""
        match self.layout:
            case "grid":
                return grid(slip=self.slip, horizon=self.horizon)
            case "tight":
                return tight(horizon=self.horizon)
            case "cliff":
                return cliff(horizon=self.horizon, recoverable=True)
            case "unrecoverable_cliff":
                return cliff(horizon=self.horizon, recoverable=False)
            case "fall_once":
                return fall_once(horizon=self.horizon)
            case "tree":
                return tree(horizon=self.horizon)
            case _:
                assert_never(self.layout)

    def contexts(self) -> Contexts:
        """Return the distribution of contexts."""
        return Contexts.geometric(self.num_contexts, ratio=self.context_ratio)

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        mdp = self.mdp()
        observation = {STATE: discrete_spec(mdp.num_states)}
        if self.num_contexts > 1:
            observation[CONTEXT] = discrete_spec(self.num_contexts)
        return EnvSpec(
            env_id="tabular",
            observation=observation,
            privileged={STEP: discrete_spec(self.horizon)},
            action=discrete_spec(mdp.num_actions),
            control_dt=1.0,
            max_episode_steps=self.horizon,
            task=f"Earn as much as you can: {mdp.name}.",
            success=SuccessRule(said=f"the rewards of the episode add up to {mdp.par:g} or more"),
        )

    def build(self, num_rows: int) -> "TabularEnv":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.tabular.env import TabularEnv

        return TabularEnv(self, num_rows=num_rows)
