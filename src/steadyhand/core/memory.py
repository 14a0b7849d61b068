"""Which attributes of an object changed because it ran, and which because somebody set them."""

import weakref
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class _Seen:
    """What is known of an object.

    Attributes:
        thing: The object.
        first: Descriptions of its attributes, without what running changed.
        left: Descriptions of the attributes when they were last looked at.
        depth: How deep it was looked into; None if that was as a part of another one.
    """

    thing: weakref.ref[Any]
    first: dict[str, Any]
    left: dict[str, Any]
    depth: int | None


_seen: dict[int, _Seen] = {}


def remembered() -> list[tuple[Any, int]]:
    """Return the objects that were looked at and that no other one led to, and how deep."""
    alive = [(known.thing(), known.depth) for known in list(_seen.values())]
    return [(thing, depth) for thing, depth in alive if thing is not None and depth is not None]


def without_memory(thing: Any, now: dict[str, Any], *, depth: int | None, has_run: bool) -> dict[str, Any]:
    """Return the attributes of an object without what running changed.

    Args:
        thing: The object.
        now: Descriptions of all attributes of the object.
        depth: How deep the object is looked into; None if that is as a part of another one.
        has_run: Whether what changed since the last look changed because it ran.
    """
    key = id(thing)
    known = _seen.get(key)
    if known is None:  # it goes with its object
        try:
            end = weakref.ref(thing, lambda _: _seen.pop(key, None))
        except TypeError:  # it has no room for one
            return now
        _seen[key] = _Seen(thing=end, first=dict(now), left=now, depth=depth)
        return now
    if not has_run:
        for name in {**known.left, **now}:
            if name not in now:
                known.first.pop(name, None)
            elif name not in known.left or known.left[name] != now[name]:
                known.first[name] = now[name]
    known.left = now
    return dict(known.first)
