"""Remedies that have no meaning for a policy class, each with its reason in mathematics.

Remedies and heads say so themselves (`Remedy.why_not`, `HeadConfig.no_meaning`). Every other pair of a remedy
and a head runs: the conformance test teaches each of them, and each of these refuses before a label is asked.
"""

from collections.abc import Mapping

from steadyhand.recipes.remedies import remedies
from steadyhand.testing.toy import policy_classes

MOST = 0.15
"""Largest share of pairs that may be refused."""

_PAIRS = {(one, name): of for one in remedies() for name, of in policy_classes().items()}

REFUSALS: Mapping[tuple[str, str], str] = {
    (one.name, name): reason
    for (one, name), of in _PAIRS.items()
    if (reason := one.why_not(of.head, is_discrete=of.is_discrete)) is not None
}
"""(name of a remedy, name of a policy class) -> why there is no such thing."""


def share_refused() -> float:
    """Return the share of all pairs that are refused."""
    return len(REFUSALS) / len(_PAIRS)


def table() -> str:
    """Return the refusals as lines of Markdown, one for each reason."""
    titles = {one.name: one.title for one in remedies()}
    lines = ["| remedy | policy class | why |", "|---|---|---|"]
    for reason in dict.fromkeys(REFUSALS.values()):
        found = [pair for pair, why in REFUSALS.items() if why == reason]
        rows = dict.fromkeys(titles[remedy] for remedy, _ in found)
        heads = dict.fromkeys(head for _, head in found)
        lines.append(f"| {'; '.join(rows)} | {'; '.join(heads)} | {reason} |")
    return "\n".join(lines)
