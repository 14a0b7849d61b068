"""What the checks of numbers look at, written by hand: blocks of steps, and what the first pass knows."""

from typing import Any

import numpy as np

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.checks.blocks import Block
from steadyhand.data.checks.detector import Detector
from steadyhand.data.checks.scan import Known, Moments
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.problems import Problem

HUNDRED = np.arange(101.0)[:, None]
"""A value from 0 to 100, of which 1 % is 1 and 99 % is 99: all but the ends span 98."""


def known(sample: np.ndarray, change: np.ndarray, **spec: Any) -> Known:
    """Return what the first pass knows of a feature with this sample of values and of changes."""
    sample, change = np.asarray(sample, np.float32), np.asarray(change, np.float32)
    return Known(
        spec=FeatureSpec(shape=sample.shape[1:], **spec),
        moments=Moments.of(sample.astype(np.float64)),
        compacted=None,
        sample=sample,
        change=change,
        is_complete=True,
    )


def block(
    *states: Any, numbers: list[int] | None = None, branches: tuple[int, ...] = (), **columns: Any
) -> Block:
    """Return episodes of these states; the actions are 0 unless `columns` says otherwise."""
    ends = np.cumsum([len(state) for state in states]).astype(np.int64)
    length = int(ends[-1])
    action = np.asarray(columns.pop("action", np.zeros((length, 2))), np.float32)
    usual: dict[str, Any] = {
        "observation": {STATE: np.concatenate(states).astype(np.float32)},
        "label": action,
        "weight": np.ones(length, np.float32),
        "is_labelled": np.ones(length, bool),
        "actor": np.zeros(length, np.uint8),
    }
    return Block(
        numbers=np.array(range(len(states)) if numbers is None else numbers, dtype=np.int64),
        ends=ends,
        action=action,
        is_branch=np.isin(np.arange(len(states)), branches),
        **{**usual, **columns},
    )


def told(detector: Detector, *blocks: Block) -> list[Problem]:
    """Return what a detector tells of some blocks."""
    for one in blocks:
        detector.take(one)
    return list(detector.problems())


def counting(*lengths: int, width: int = 3) -> ArrayDataset:
    """Return episodes whose states count through all steps, and twice that as the action."""
    count = np.arange(sum(lengths), dtype=np.float32)[:, None]
    state, action = count + np.zeros(width, np.float32), 2 * count + np.zeros(4, np.float32)
    return episodes_from_arrays({STATE: state}, action, np.cumsum(lengths), control_dt=0.1)
