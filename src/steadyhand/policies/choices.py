"""Words and numbers that settings choose from, in one place that needs no torch."""

from typing import Literal

from steadyhand.core.settings import Count

Activation = Literal["relu", "tanh", "gelu", "silu"]
ImageRange = Literal["unit", "signed"]
"""Range of a pixel as a network sees it: [0, 1] or [-1, 1]."""
Convolution = tuple[Count, Count, Count]
"""(channels, kernel size, stride), without padding."""
Cell = Literal["lstm", "gru"]
Norm = Literal["group", "frozen_batch"]
Stem = Literal["imagenet", "small"]
Mode = Literal["min_max", "z_score", "z_score_shared", "quantile", "identity"]
"""min_max: the data's range to [-1, 1]. z_score: mean 0, deviation 1. z_score_shared: the same, over all
lines of a feature that lists things, so that they are scaled alike. quantile: 1 % and 99 % to -1 and 1."""
Representation = Literal["absolute", "delta", "relative"]
Order = Literal[1, 2]
