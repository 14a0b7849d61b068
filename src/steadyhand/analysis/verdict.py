"""The outcome in plain words, from the numbers alone: who won, and whether this run can tell."""

from collections.abc import Sequence

from steadyhand.analysis.results import Comparison, PolicyResult, Wording


def verdict(results: Sequence[PolicyResult], comparisons: Sequence[Comparison], wording: Wording) -> str:
    """Return two or three sentences for the head of the report.

    Args:
        results: The expert, if it was evaluated, and the policies; the first policy is the baseline.
        comparisons: Every further policy against the baseline.
        wording: How the task is spoken of.
    """
    policies = [result for result in results if result.kind == "policy"]
    experts = [result for result in results if result.kind == "expert"]
    sentences: list[str] = []
    if policies:
        sentences.append(_scores(policies, wording))
    sentences += [
        f"Even {in_sentence(expert.name)} {_outcome(expert, wording, brief=bool(policies))}."
        for expert in experts
        if policies and expert.num_successes < expert.num_starts
    ]
    if not policies:
        sentences += [f"{expert.name} {_outcome(expert, wording)}." for expert in experts]
    if comparisons:
        sentences.append(evidence(_leader(comparisons)))
    text = " ".join(sentences)
    return text[:1].upper() + text[1:]


def evidence(comparison: Comparison) -> str:
    """Return one sentence on the same starts: how the outcomes differed, and whether chance explains it."""
    pairing = comparison.success.pairing
    difference = comparison.success.difference
    if pairing is None:
        return ""
    same = f"From the same {difference.count:,} starts"
    sides = ((pairing.only_a, comparison.name), (pairing.only_b, comparison.baseline))
    (won, winner), (lost, loser) = sides if pairing.only_a >= pairing.only_b else reversed(sides)
    if won == 0:
        return f"{same}, {winner} and {loser} had the same outcome every time."
    counts = f"{winner} succeeded {_times(won)} where {loser} failed, and {_times(lost)} the other way round"
    test = f"exact McNemar {p_text(pairing.p_value)}"
    if pairing.p_value < 0.05:
        return f"{same}, {counts} ({test})."
    return f"{same}, {counts}: too little to tell them apart ({test})."


def p_text(value: float) -> str:
    """Return "p = 0.012" or "p < 0.0001"."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def _scores(policies: Sequence[PolicyResult], wording: Wording) -> str:
    baseline, *others = policies
    first = f"{baseline.name} {_outcome(baseline, wording)}"
    if not others:
        return f"{first}."
    parts, rest = [first], list(others)
    same = [one for one in others if one.labels_used is not None and one.labels_used == baseline.labels_used]
    if len(same) > 1:
        clauses = [f"{other.name} {_outcome(other, wording, brief=True)}" for other in same]
        parts.append(f"with the same {baseline.labels_used:,} labels, {_listed(clauses)}")
        rest = [one for one in others if one not in same]
    if rest:
        parts.append(
            _listed(
                [f"{one.name}{_labels(one, baseline)} {_outcome(one, wording, brief=True)}" for one in rest]
            )
        )
    return f"{'; '.join(parts)}."


def _outcome(result: PolicyResult, wording: Wording, *, brief: bool = False) -> str:
    text = wording.outcome
    if brief:
        end = max(text.index("{n}"), text.index("{k}")) + len("{n}")
        text = text[:end]
    return text.replace("{k}", f"{result.num_successes:,}").replace("{n}", f"{result.num_starts:,}")


def _labels(other: PolicyResult, baseline: PolicyResult) -> str:
    if other.labels_used is None:
        return ""
    if other.labels_used == baseline.labels_used:
        return f", with the same {other.labels_used:,} labels,"
    return f", with {other.labels_used:,} labels,"


def _leader(comparisons: Sequence[Comparison]) -> Comparison:
    return max(comparisons, key=lambda one: (one.success.difference.value, one.returns.difference.value))


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def in_sentence(name: str) -> str:
    """Return the name as it stands within a sentence: "Expert" becomes "the expert"."""
    return "the expert" if name.lower() in ("expert", "the expert") else name


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
