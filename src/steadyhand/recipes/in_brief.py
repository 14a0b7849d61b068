"""One line before training: what the policy sees, what it leaves out, and what it is made of."""

from collections.abc import Mapping, Sequence

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import described


def in_brief(policy: PolicyModule, offered: Mapping[str, FeatureSpec], *, unread: Sequence[str] = ()) -> str:
    """Return what a policy sees, leaves out and is made of, and where it is, in one line.

    Args:
        policy: The policy.
        offered: Every feature of the env or the data set.
        unread: Names of what else the data hold, which nothing reads.
    """
    config = policy.config
    unseen = [described(name, offered[name]) for name in offered if name not in policy.features]
    left_out = ", ".join([*unseen, *unread])
    steps = f" over {config.n_obs_steps} steps" if config.n_obs_steps > 1 else ""
    sees = ", ".join(described(name, spec) for name, spec in policy.spec.observation.items())
    number = sum(parameter.numel() for parameter in policy.parameters())
    return (
        f"sees {sees}{steps}; leaves out {left_out or 'nothing'}; "
        f"{type(config.encoder).__name__} -> {type(config.head).__name__}, horizon {config.horizon}, "
        f"{number:,} parameters, on {policy.device}"
    )
