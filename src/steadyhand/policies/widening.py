"""A policy that is trained further on labels outside the range of its first ones."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Head
from steadyhand.policies.normaliser import Affine

_SLACK = 1e-3
"""Labels that leave [-1, 1] by less are inside: no answer is missed by more than that."""
_FARTHEST = 20.0
"""Farthest that labels may lie for a head that keeps its units; beyond, errors there drown all others."""


def widen(head: Head, affine: Affine, spec: FeatureSpec, values: Float[np.ndarray, "K A"]) -> bool:
    """Make room in head and normaliser for `values`, the labels of further training, raw.

    Returns:
        Whether any lay outside the range of the normaliser.

    Raises:
        CapabilityError: The head cannot answer such labels without being trained from the start.
    """
    with torch.no_grad():
        inner = affine(torch.from_numpy(values).to(affine.scale.device))
        low, high = inner.amin(0), inner.amax(0)
    is_outside = bool(((low < -1.0 - _SLACK) | (high > 1.0 + _SLACK)).any())
    if affine.mode == "min_max" and not is_outside:
        return False
    low, high = low.clamp(max=-1.0), high.clamp(min=1.0)
    if not head.widen(low, high):
        if affine.mode == "min_max":
            _require_near(head, spec, torch.maximum(-low, high))
        return is_outside
    half, middle = (high - low) / 2, (high + low) / 2
    numbers = {"offset": affine.offset + affine.scale * middle, "scale": affine.scale * half}
    affine.put(
        **{name: value.double().cpu().numpy() for name, value in numbers.items()},
        spread=values.std(axis=0, dtype=np.float64),
    )
    return True


def _require_near(head: Head, spec: FeatureSpec, reach: Float[Tensor, " A"]) -> None:
    place = int(reach.argmax())
    if reach[place] <= _FARTHEST:
        return
    label = f"action[{place}]" + (f" ({spec.names[place]})" if spec.names else "")
    raise CapabilityError(
        f"{type(head).__name__} cannot go on from these weights: labels of {label} lie far outside the old.",
        got=f"{float(reach[place]):.3g} times as far from the middle of the first ones as those themselves",
        expected=f"at most {_FARTHEST:g} times",
        hint="train from the start on all data (training='refit', no --from), or use Regression or Act",
    )
