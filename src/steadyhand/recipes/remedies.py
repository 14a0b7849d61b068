"""Remedies: every way to teach a policy, by name. Their settings are found here and imported when asked for.

remedies.DaggerConfig(rounds=10)        settings
remedy("dagger")                        their class, by the name of the command line
"""

from typing import Any

from steadyhand.core.errors import ConfigError
from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute, chosen, load_all, short_name
from steadyhand.correction.remedy import Remedy


def remedies() -> list[type[Remedy]]:
    """Return the remedies that have a name: ours, the cheap ones first, then those of installed packages."""
    return [one for one in load_all(Remedy) if one.name]


def remedy(name: str) -> type[Remedy]:
    """Return a remedy by name, "module:Class" or class name.

    Raises:
        ConfigError: There is none of that name.
    """
    for place in Remedy.ours:  # most are called as their class is: no need to import the others
        if (
            short_name(Remedy, place) == short_name(Remedy, name)
            and (one := chosen(Remedy, place)).name == name
        ):
            return one
    named = remedies()
    for one in named:
        if one.name == name:
            return one
    if ":" in name or name in Remedy.ours:
        return chosen(Remedy, name)
    raise ConfigError("There is no such remedy.", got=name, available=[one.name for one in named])


def __getattr__(name: str) -> Any:
    return attribute(Remedy, name, module=__name__)


def __dir__() -> list[str]:
    return listing(Remedy, globals())
