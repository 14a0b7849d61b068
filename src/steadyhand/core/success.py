"""What counts as success: told by the env, or by a stated rule; never guessed from how an episode ended."""

from dataclasses import dataclass
from typing import Literal

from steadyhand.core.errors import ConfigError

SuccessKind = Literal["own", "ever", "last", "terminated", "survived", "return", "mean_reward", "unknown"]

INFO_KEYS = ("is_success", "success")
"""What Gymnasium envs call it in their info."""

_FORMS = (
    "ever",
    "last",
    "ever:KEY",
    "last:KEY",
    "terminated",
    "survived",
    "return>=NUMBER",
    "mean_reward>=NUMBER",
    "none",
)


@dataclass(frozen=True, kw_only=True)
class SuccessRule:
    """When an episode counts as a success.

    Attributes:
        kind: "own": as the env's own `StepResult` says; "ever": the info told success at some step; "last":
            the info told it at the last step; "terminated": the env ended the episode by its own rules;
            "survived": the time limit was reached and it did not; "return" and "mean_reward": the sum or the
            mean of the rewards is at least `threshold`; "unknown": nothing tells success.
        keys: Where the info tells it; the first key that is there counts. Only for "ever" and "last".
        absent: What an episode is in which the info never had a key. Only for "ever" and "last".
        threshold: Least return, or least mean reward, that is a success. Only for "return" and "mean_reward".
        said: The rule in words; empty takes general words.
    """

    kind: SuccessKind = "own"
    keys: tuple[str, ...] = INFO_KEYS
    absent: Literal["unknown", "failure"] = "unknown"
    threshold: float | None = None
    said: str = ""

    def __post_init__(self) -> None:
        if (self.threshold is not None) != (self.kind in ("return", "mean_reward")):
            raise ConfigError(
                "A threshold belongs to the rules that compare rewards with it, and only to them.",
                got=f"kind={self.kind!r}, threshold={self.threshold}",
            )
        if not self.keys:
            raise ConfigError("A success rule needs a key to look for.", got="no keys", expected=INFO_KEYS)

    @property
    def is_told(self) -> bool:
        """Whether anything can tell success; an env may still leave single episodes open."""
        return self.kind != "unknown"

    @property
    def words(self) -> str:
        """The rule as the end of a sentence that begins with "Success: "."""
        if self.said:
            return self.said
        told = " or ".join(f'info["{key}"]' for key in self.keys)
        if self.kind in ("ever", "last"):
            when = "at some step" if self.kind == "ever" else "at the last step"
            rest = "failed" if self.absent == "failure" else "open"
            return f"{told} is true {when}; {rest} where the info never holds it"
        least = "" if self.threshold is None else f"{self.threshold:g} or more"
        return {
            "own": "as the env says",
            "terminated": "the env ended the episode by its own rules, before the time limit",
            "survived": "the episode lasted until the time limit",
            "return": f"the rewards of the episode add up to {least}",
            "mean_reward": f"the mean reward of a step is {least}",
            "unknown": "this env does not tell it",
        }[self.kind]


UNKNOWN = SuccessRule(kind="unknown")
"""Nothing tells success."""

AS_TOLD = SuccessRule(kind="ever")
"""Success at some step, where the env's info says so; open where it does not."""


def success_rule(text: str) -> SuccessRule:
    """Read a rule as it is written on the command line and in run.json.

    Args:
        text: "ever", "last" (both with ":KEY" for another key of the info), "terminated", "survived",
            "return>=200", "mean_reward>=0.5", or "none". An episode whose info lacks the key has failed,
            since it was said where success is told.

    Raises:
        ConfigError: It is none of these.
    """
    name, colon, key = text.partition(":")
    if name in ("ever", "last") and (key or not colon):
        keys = (key,) if key else INFO_KEYS
        return SuccessRule(kind="ever" if name == "ever" else "last", keys=keys, absent="failure")
    if text == "none":
        return UNKNOWN
    if text == "terminated":
        return SuccessRule(kind="terminated")
    if text == "survived":
        return SuccessRule(kind="survived")
    name, _, number = text.partition(">=")
    threshold = _number(number)
    if threshold is not None and name.strip() == "return":
        return SuccessRule(kind="return", threshold=threshold)
    if threshold is not None and name.strip() == "mean_reward":
        return SuccessRule(kind="mean_reward", threshold=threshold)
    raise ConfigError("There is no such success rule.", got=text, available=["auto", *_FORMS])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
