"""Sampling a chunk that agrees with actions already committed (real-time chunking)."""

from dataclasses import dataclass
from typing import Literal

from steadyhand.core.settings import Count, NotNegative, Settings

Method = Literal["nearest", "guidance", "overwrite"]


@dataclass(frozen=True, kw_only=True)
class Inpainting(Settings):
    """How a chunk is sampled that agrees with a prefix of committed actions.

    First `candidates` chunks are drawn without regard to the prefix, and the noise of the one that lies
    nearest to it is kept: that is what keeps the mode. Then the chunk is drawn once more from that noise:

    - "guidance": every step follows the gradient of the disagreement through the net (RTC: Black et al.,
      2025; PiGDM: Song et al., 2023).
    - "overwrite": at every step the frozen actions are replaced by their noised values (RePaint, without
      resampling).
    - "nearest": not at all; the candidate is the answer, and the prefix is met only as well as it happens to.

    Deviation: RTC draws a single noise; a frozen prefix alone does not say which way the chunk goes on.

    Attributes:
        method: Which of the three methods above honours the prefix.
        candidates: Number of chunks to choose from; 1 takes the first noise that comes.
        max_guidance: Largest weight of the gradient (beta of RTC).
    """

    method: Method = "guidance"
    candidates: Count = 16
    max_guidance: NotNegative = 5.0
