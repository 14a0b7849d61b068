"""Instructions for the table: verb x colour x place, and which of them a learner is never shown.

A sentence such as "put the crimson block to the far side" is drawn from words that are split: what a learner
has heard in training, and, each apart, what it has not: verbs, synonyms, pairs of block and place, and blocks
of another colour.
"""

from typing import Literal

import numpy as np

Unheard = Literal["nothing", "verbs", "synonyms", "pairs", "blocks"]
"""What of an instruction training never says."""

VERBS = ("put", "place", "move", "bring", "set", "carry", "take", "slide")
HEARD_VERBS = 5
"""How many of the verbs are heard in training, the first ones."""

COLOURS = (
    ("red", "crimson", "scarlet"),
    ("green", "emerald", "lime"),
    ("blue", "navy", "azure"),
    ("yellow", "golden", "amber"),
    ("purple", "violet", "plum"),
    ("orange", "tangerine", "apricot"),
)
"""Each colour and its synonyms."""
HEARD_COLOURS = 4
"""How many of the colours are on the table in training, the first ones."""

PLACES = (
    ("to the far side", "to the back", "to the top"),
    ("to the near side", "to the front", "to the bottom"),
    ("to the left", "to the left side", "to the left edge"),
    ("to the right", "to the right side", "to the right edge"),
)
"""Each zone and its synonyms, in the order of `layout.ZONES`."""
HEARD_SYNONYMS = 2
"""How many of three words for a colour or a place are heard in training, the first ones."""


def is_heard_pair(colour: int, zone: int) -> bool:
    """Whether training asks for this colour in this zone; for each colour it leaves one zone out."""
    return (colour + zone) % len(PLACES) != 0


def drawn_words(unheard: Unheard, random: np.random.Generator) -> tuple[int, int, int]:
    """Return the numbers of a verb, and of the words for a colour and a place."""
    verbs = range(HEARD_VERBS, len(VERBS)) if unheard == "verbs" else range(HEARD_VERBS)
    words = range(HEARD_SYNONYMS, len(PLACES[0])) if unheard == "synonyms" else range(HEARD_SYNONYMS)
    return int(random.choice(verbs)), int(random.choice(words)), int(random.choice(words))


def sentence(words: tuple[int, int, int], *, colour: int, zone: int) -> str:
    """Return an instruction.

    Args:
        words: Numbers of the verb, and of the words for colour and place.
        colour: Number of the block's colour.
        zone: Number of the zone.
    """
    verb, synonym, place = words
    return f"{VERBS[verb]} the {COLOURS[colour][synonym]} block {PLACES[zone][place]}"
