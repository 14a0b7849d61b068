"""Every kind of part, and what a part says of itself: read from its class, so that nothing is said twice."""

import inspect
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from typing import Any, get_type_hints

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import Part, choices, chosen, load_all, name_of, spoken, spoken_name, summary
from steadyhand.core.settings import field_texts, type_text

KINDS: dict[str, str] = {
    "encoder": "steadyhand.policies.encoders.config:EncoderConfig",
    "head": "steadyhand.policies.heads.config:HeadConfig",
    "net": "steadyhand.policies.nets.denoisers:DenoiserConfig",
    "executor": "steadyhand.rollout.executors.config:ExecutorConfig",
    "env": "steadyhand.envs.config:EnvConfig",
    "expert": "steadyhand.experts.config:ExpertConfig",
    "remedy": "steadyhand.correction.remedy:Remedy",
    "gate": "steadyhand.correction.gate:GateConfig",
    "weighting": "steadyhand.correction.weighting:WeightingConfig",
    "noise": "steadyhand.correction.noise:ActionNoise",
    "schedule": "steadyhand.correction.mixture:BetaSchedule",
    "recipe": "steadyhand.recipes.config:RecipeConfig",
}
"""Name of a kind -> "module:Class" of its base class, which is imported when it is asked for."""

SPOKEN = ("env", "executor", "expert", "remedy", "recipe")
"""Kinds whose parts are called in small letters on the command line."""

NEED_MORE = ("GymnasiumConfig", "WeightsExpert", "ModelExpert", "PolicyExpert", "FunctionExpert")
"""Parts of ours that a name alone does not make: they are meant by an id, a file, a folder or a function."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field of a part.

    Attributes:
        name: Name of the field.
        type: Type of the field, with the range of its values.
        default: Default of the field, written out; empty where it has none.
        text: What it is.
    """

    name: str
    type: str
    default: str
    text: str


def kind_named(name: str) -> type[Part]:
    """Return the base class of a kind.

    Raises:
        ConfigError: There is no such kind.
    """
    singular = name.removesuffix("s") if name not in KINDS else name
    if singular not in KINDS:
        raise ConfigError("There is no such kind of part, and no such part.", got=name, available=KINDS)
    module, _, base = KINDS[singular].partition(":")
    return getattr(import_module(module), base)


def kinds_with(name: str) -> list[type[Part]]:
    """Return the kinds that have a part of that name; none where it is the name of a kind itself.

    Where a class has exactly that name ("Gaussian"), those that could be meant by it in short do not count.
    """
    found: dict[type[Part], type[Part]] = {}
    for kind in map(kind_named, () if name in KINDS or name.removesuffix("s") in KINDS else KINDS):
        with suppress(ConfigError):
            found[kind] = chosen(kind, name)
    exact = [kind for kind, part in found.items() if name in (part.__name__, name_of(part))]
    return exact or [*found]


def parts_of(kind: type[Part]) -> list[tuple[str, str, str]]:
    """Return (name, what it is in a sentence, whose it is) of every part of a kind."""
    return [
        (spoken_name(kind, one) if kind.kind in SPOKEN else name_of(one), summary(one), _owner(one))
        for one in load_all(kind)
    ]


def choices_of(name: str) -> list[str]:
    """Return what a person may name of a kind; see `core.parts.choices`."""
    kind = kind_named(name)
    names = [one for one in choices(kind) if one not in NEED_MORE]
    return [spoken(kind, one) if name in SPOKEN and one in kind.ours else one for one in names]


def settings_of(part: type) -> list[Setting]:
    """Return the fields of a part with type, default and text."""
    hints, texts = get_type_hints(part, include_extras=True), field_texts(part)
    members: tuple[Field[Any], ...] = fields(part)  # pyright: ignore[reportArgumentType]  parts are dataclasses
    return [
        Setting(
            name=one.name,
            type=type_text(hints[one.name]),
            default=_default(one),
            text=texts.get(one.name, ""),
        )
        for one in members
    ]


def description(part: type[Part]) -> str:
    """Return what a part says of itself, without its fields."""
    return inspect.cleandoc(part.__doc__ or "").partition("\nAttributes:")[0].strip()


def _owner(part: type[Part]) -> str:
    package = part.__module__.partition(".")[0]
    return "steadyhand" if package == __name__.partition(".")[0] else package


def _default(field: "Field[Any]") -> str:
    if field.default is not MISSING:
        return repr(field.default)
    return repr(field.default_factory()) if field.default_factory is not MISSING else ""
