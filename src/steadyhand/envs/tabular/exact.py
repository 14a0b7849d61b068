"""Exact evaluation of policies of a finite MDP, and dynamic programming. No sampling anywhere.

A policy is (S, A) probabilities, or (H, S, A) if it depends on the step. With H the horizon,

    V_H = 0,   V_t(s) = sum_a pi_t(a | s) [r(s, a) + gamma sum_s' P(s' | s, a) V_{t+1}(s')]
    d_0 = start,   d_{t+1}(s') = sum_{s, a} d_t(s) pi_t(a | s) P(s' | s, a)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from steadyhand.core.errors import SpecError
from steadyhand.envs.tabular.mdp import FiniteMDP

Policy = Float[np.ndarray, "S A"] | Float[np.ndarray, "H S A"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """What dynamic programming found; ties go to the action of the lowest number.

    Attributes:
        action: (H, S) best action at each step, or (S,) if it does not depend on the step.
        value: (H + 1, S) value to go, or (S,).
        action_value: (H, S, A) value of acting so and well ever after, or (S, A).
    """

    action: Int64[np.ndarray, "*time S"]
    value: Float64[np.ndarray, "*times S"]
    action_value: Float64[np.ndarray, "*time S A"]


def action_values(
    mdp: FiniteMDP, value: Float64[np.ndarray, " S"], *, discount: float = 1.0
) -> Float64[np.ndarray, "S A"]:
    """Return Q(s, a) = r(s, a) + discount E[value(s')]."""
    return mdp.reward + discount * (mdp.transition @ value).T


def values(mdp: FiniteMDP, policy: Policy, *, discount: float = 1.0) -> Float64[np.ndarray, "T S"]:
    """Return V_t(s) of a policy for t = 0 .. H, (H + 1, S).

    Raises:
        SpecError: The policy has the wrong shape, or its probabilities do not add up.
    """
    steps = _by_step(mdp, policy)
    value = np.zeros((mdp.horizon + 1, mdp.num_states))
    for step in reversed(range(mdp.horizon)):
        value[step] = (steps[step] * action_values(mdp, value[step + 1], discount=discount)).sum(axis=1)
    return value


def expected_return(mdp: FiniteMDP, policy: Policy, *, discount: float = 1.0) -> float:
    """Return the expected sum of rewards from the start distribution over the horizon."""
    return float(mdp.start @ values(mdp, policy, discount=discount)[0])


def expected_cost(mdp: FiniteMDP, policy: Policy) -> float:
    """Return the expected sum of costs: minus the expected return."""
    return -expected_return(mdp, policy)


def occupancy(mdp: FiniteMDP, policy: Policy) -> Float64[np.ndarray, "H S"]:
    """Return d_t(s), the probability of being in s before action t, t = 0 .. H - 1; each row adds to 1."""
    steps = _by_step(mdp, policy)
    visited = np.zeros((mdp.horizon, mdp.num_states))
    visited[0] = mdp.start
    for step in range(mdp.horizon - 1):
        flow = visited[step][:, None] * steps[step]
        visited[step + 1] = np.einsum("sa,asn->n", flow, mdp.transition)
    return visited


def average_occupancy(mdp: FiniteMDP, policy: Policy) -> Float64[np.ndarray, " S"]:
    """Return d(s), the mean of d_t(s) over the horizon."""
    return occupancy(mdp, policy).mean(axis=0)


def disagreement(mdp: FiniteMDP, policy: Policy, *, expert: Policy, under: Policy | None = None) -> float:
    """Return the probability that a policy's action differs from a deterministic expert's, per step.

    Args:
        mdp: The MDP.
        policy: The policy.
        expert: The expert.
        under: Whose states count; the expert's own if None, which is the epsilon of Ross and Bagnell (2010).
    """
    visited = occupancy(mdp, expert if under is None else under)
    agreed = (_by_step(mdp, policy) * _by_step(mdp, expert)).sum(axis=2)
    return float((visited * (1.0 - agreed)).sum(axis=1).mean())


def backward_induction(mdp: FiniteMDP, *, discount: float = 1.0) -> Plan:
    """Return the best actions for each step of the horizon."""
    value = np.zeros((mdp.horizon + 1, mdp.num_states))
    action_value = np.zeros((mdp.horizon, mdp.num_states, mdp.num_actions))
    for step in reversed(range(mdp.horizon)):
        action_value[step] = action_values(mdp, value[step + 1], discount=discount)
        value[step] = action_value[step].max(axis=1)
    return Plan(action=action_value.argmax(axis=2), value=value, action_value=action_value)


def value_iteration(
    mdp: FiniteMDP, *, discount: float, tolerance: float = 1e-10, max_sweeps: int = 100_000
) -> Plan:
    """Return the best stationary actions of the discounted problem without a horizon.

    Args:
        mdp: The MDP.
        discount: In [0, 1).
        tolerance: Largest error of the values that are returned.
        max_sweeps: Sweeps after which it gives up.

    Raises:
        SpecError: The discount lies outside [0, 1), or the sweeps did not suffice.
    """
    if not 0.0 <= discount < 1.0:
        raise SpecError("Value iteration needs a discount below 1.", got=discount, expected="[0, 1)")
    value = np.zeros(mdp.num_states)
    for _ in range(max_sweeps):
        action_value = action_values(mdp, value, discount=discount)
        best = action_value.max(axis=1)
        change = np.abs(best - value).max()
        value = best
        # |V_k+1 - V*| <= discount / (1 - discount) |V_k+1 - V_k|: the map is a contraction.
        if discount * change <= tolerance * (1.0 - discount):
            action_value = action_values(mdp, value, discount=discount)
            return Plan(action=action_value.argmax(axis=1), value=value, action_value=action_value)
    raise SpecError(
        "Value iteration did not come to rest.", got=f"{max_sweeps} sweeps", hint="allow more sweeps"
    )


def discounted_values(
    mdp: FiniteMDP, policy: Float[np.ndarray, "S A"], *, discount: float
) -> Float64[np.ndarray, " S"]:
    """Return the values of a stationary policy without a horizon: V with (I - gamma P_pi) V = r_pi."""
    flow = np.einsum("sa,asn->sn", policy, mdp.transition)
    gain = (policy * mdp.reward).sum(axis=1)
    return np.linalg.solve(np.eye(mdp.num_states) - discount * flow, gain)


def _by_step(mdp: FiniteMDP, policy: Policy) -> Float[np.ndarray, "H S A"]:
    one = (mdp.num_states, mdp.num_actions)
    if policy.shape not in (one, (mdp.horizon, *one)):
        raise SpecError(
            "The policy has the wrong shape.", got=policy.shape, expected=f"{one} or {(mdp.horizon, *one)}"
        )
    if (policy < -1e-12).any() or np.abs(policy.sum(axis=-1) - 1.0).max() > 1e-6:
        raise SpecError("The policy's probabilities must not be negative and add up to 1.")
    return np.broadcast_to(policy, (mdp.horizon, *one))
