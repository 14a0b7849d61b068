"""Remedies that have no meaning for a policy class, each with its reason in mathematics.

Every other pair of a remedy (`recipes.remedies`) and a policy class (`testing.policy_classes`) runs: the
conformance test teaches each of them, and each of these refuses before a label is asked.
"""

from collections.abc import Iterator, Mapping

from steadyhand.recipes.remedies import remedies
from steadyhand.testing.toy import policy_classes

MOST = 0.15
"""Largest share of pairs that may be refused."""

_HEADS = policy_classes()
_DISCRETE = tuple(name for name, one in _HEADS.items() if one.is_discrete)

_SUM = (
    "a class plus a number is no class: additive noise needs a vector space of actions. DART, whose discrete "
    "form draws another class with probability epsilon, runs"
)
_GEOMETRY = (
    "the label of a displaced view is the driver's arc, bent by the displacement: a function of an action "
    "that is a number. Classes have no geometry to bend"
)
_RIDGE = (
    "the mean over the noise has a closed form, E sum (y - W(x + n))^2 = sum (y - Wx)^2 + N s^2 W^2 for N "
    "labels: ridge regression. `Ridge(alpha=N * s * s)` is that policy exactly, without a draw"
)
_STORED = (
    "what has the least mean error under noise is kernel regression, sum y_i N(x; x_i, s^2) / "
    "sum N(x; x_i, s^2) (Nadaraya, Watson): a mean of all windows, and no nearest one for any s > 0"
)
_CLASSES = (
    "the inputs of a table are classes: nothing lies beside a class, and a number cannot be added to it"
)
_RESIDUAL = (
    "a corrective label lies at s - f(s, a), f a residual with a bounded slope in s. States that are classes "
    "have neither differences nor slopes"
)
_HINGE = (
    "EIL's judgements are hinges, max(0, Q - B + m) and max(0, B - Q + m), on the loss Q of an action. {what}"
)
_UNLIKELY = "A stored window can be answered with or left out; nothing makes it less likely up to a bound"
_ZERO = "its loss is the distance from its own answer: 0 at that answer, in every state"
_CONSTANT = "one covariance for all states: -log p of its mean is the same number in every state"

REFUSALS: Mapping[tuple[str, str], str] = {
    **{("noise", head): _SUM for head in _DISCRETE},
    **{(views, head): _GEOMETRY for views in ("side-cameras", "alvinn-views") for head in _DISCRETE},
    ("noise-bc", "Ridge"): _RIDGE,
    ("noise-bc", "Nearest"): _STORED,
    ("noise-bc", "Nearest, discrete"): _STORED,
    ("noise-bc", "Tabular"): _CLASSES,
    ("ccil", "Tabular"): _RESIDUAL,
    ("ccil-implicit", "Tabular"): _RESIDUAL,
    ("eil", "Ridge"): _HINGE.format(what="Their least sum solves no linear equations"),
    ("eil", "Nearest"): _HINGE.format(what=_UNLIKELY),
    ("eil", "Nearest, discrete"): _HINGE.format(what=_UNLIKELY),
    ("eil", "Tabular"): _HINGE.format(what="Counts can be added, and a hinge is no count: bad needs a minus"),
    ("diff-dagger", "Regression"): _ZERO,
    ("diff-dagger", "Nearest"): _ZERO,
    ("diff-dagger", "Nearest, discrete"): _ZERO,
    ("diff-dagger", "Ridge"): _CONSTANT,
}
"""(name of a remedy, name of a policy class) -> why there is no such thing."""


def share_refused() -> float:
    """Return the share of all pairs that are refused."""
    return len(REFUSALS) / (len(remedies()) * len(_HEADS))


def table() -> str:
    """Return the refusals as lines of Markdown, one for each reason."""
    pairs = len(remedies()) * len(_HEADS)
    lines = [
        f"{len(remedies())} remedies x {len(_HEADS)} policy classes = {pairs} pairs, of which "
        f"{len(REFUSALS)} are refused ({100 * share_refused():.1f} %; at most {100 * MOST:.0f} % may be).",
        "",
        "| remedy | policy class | why |",
        "|---|---|---|",
    ]
    return "\n".join([*lines, *(f"| {remedies} | {heads} | {why} |" for remedies, heads, why in _grouped())])


def _grouped() -> Iterator[tuple[str, str, str]]:
    titles = {one.name: one.title for one in remedies()}
    for reason in dict.fromkeys(REFUSALS.values()):
        found = [pair for pair, why in REFUSALS.items() if why == reason]
        rows = dict.fromkeys(titles[remedy] for remedy, _ in found)
        heads = dict.fromkeys(head for _, head in found)
        yield "; ".join(rows), "; ".join(heads), reason
