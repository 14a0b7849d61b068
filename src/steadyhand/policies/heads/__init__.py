"""Heads: context -> distribution over chunks of actions.

The settings of each are found here by name, such as `heads.Flow()`, and imported when asked for.
"""

from typing import Any


def _settings() -> dict[str, Any]:
    from typing import get_args

    from steadyhand.policies.heads.config import HeadConfig

    return {kind.__name__: kind for kind in get_args(HeadConfig)}


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in (settings := _settings()):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return settings[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_settings()})
