"""Kinds of a step, as what it is learnt."""

EXPLICIT, GOOD, BAD = 0, 1, 2
"""An explicit label, or a judgement that what was done was good or bad (EIL)."""
