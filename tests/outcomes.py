"""Outcomes of episodes that nobody drove, from arrays; and what a page says of them."""

import re

import numpy as np

from steadyhand.envs.base import Start
from steadyhand.rollout.evaluate import Evaluation


def episodes(
    name: str,
    success: np.ndarray | None,
    returns: np.ndarray,
    lengths: np.ndarray,
    *,
    control_dt: float = 0.1,
    **more: object,
) -> Evaluation:
    """Return made-up episodes, each from a start of its own; those without success ended early."""
    count = len(returns)
    return Evaluation(
        name=name,
        starts=tuple(Start(family="test", seed=seed) for seed in range(count)),
        success=success,
        returns=returns,
        lengths=lengths,
        terminated=np.zeros(count, dtype=bool) if success is None else ~success,
        control_dt=control_dt,
        group=np.arange(count),
        **more,
    )


def section_of(page: str, heading: str) -> str:
    """Return the section of a page that has this heading; empty if there is none."""
    sections = re.findall(r"<section>.*?</section>", page, flags=re.DOTALL)
    return next((one for one in sections if f"<h2>{heading}</h2>" in one), "")
