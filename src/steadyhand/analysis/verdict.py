"""The outcome in plain words, from the numbers alone: who won, by what, and whether this run can tell.

The first sentence is about what differs: success where it is told and tells the policies apart, otherwise the
return.
"""

from collections.abc import Sequence
from typing import Literal

from steadyhand.analysis.notation import number, percent_of, signed
from steadyhand.analysis.results import ComparedPair, PolicyResult, Report, Wording
from steadyhand.core.statistics import Estimate

Measure = Literal["success", "return"]

_LEVEL = 0.05
"""p-value below which successes tell two policies apart."""


def verdict(report: Report) -> str:
    """Return two or three sentences for the head of the report, from its results and comparisons."""
    policies = [result for result in report.results if result.kind == "policy"]
    experts = [result for result in report.results if result.kind == "expert"]
    measure, words = _measure(report.results, report.comparisons), report.wording
    if not policies:
        sentences = [f"{_opening(expert)} {_outcome(expert, words, measure)}." for expert in experts]
    else:
        sentences = [_scores(policies, words, measure)]
        if measure == "return" and _is_told(policies):
            sentences.append(_beside(policies, words))
        shown = [expert for expert in experts if measure == "return" or _fails(expert)]
        sentences += [_expert_beside(expert, words, measure) for expert in shown]
    sentences += _on_a_scale(report, policies, measure)
    if report.comparisons:
        sentences.append(evidence(_leader(report.comparisons, measure)))
    if not report.tells_success:
        sentences.append("Nothing tells success here, so the return is compared.")
    text = " ".join(sentences)
    return text if text[:1].isupper() or not policies else f"The policy {text}"


def evidence(comparison: ComparedPair) -> str:
    """Return what tells the two apart on the same starts, and whether chance explains it."""
    if comparison.success is None or _by_return(comparison):
        return _return_evidence(comparison)
    pairing = comparison.success.pairing
    assert pairing is not None
    same = f"From the same {comparison.success.difference.count:,} starts"
    sides = ((pairing.only_a, comparison.name), (pairing.only_b, comparison.baseline))
    (won, winner), (lost, loser) = sides if pairing.only_a >= pairing.only_b else reversed(sides)
    counts = f"{winner} succeeded {_times(won)} where {loser} failed, and {_times(lost)} the other way round"
    test = f"exact McNemar {p_text(pairing.p_value)}"
    if pairing.p_value < _LEVEL:
        return f"{same}, {counts} ({test})."
    return f"{same}, {counts}: too little to tell them apart ({test})."


def p_text(value: float) -> str:
    """Return "p = 0.012" or "p < 0.0001"."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def _return_evidence(comparison: ComparedPair) -> str:
    estimate = comparison.returns.difference
    difference, interval = estimate.value, estimate.interval
    same = f"From the same {estimate.count:,} starts" if estimate.count > 1 else "From the one start"
    pair = f"{comparison.name} and {comparison.baseline}"
    if not _differs_in_return(comparison):
        outcome = "return" if comparison.success is None else "outcome and the same return"
        return f"{same}, {pair} had the same {outcome} every time."
    higher, lower = comparison.name, comparison.baseline
    low, high = (0.0, 0.0) if interval is None else (interval.low, interval.high)
    if difference < 0:
        higher, lower, low, high = lower, higher, -high, -low
    said = f"{same}, {higher} returned {number(abs(difference))} more than {lower} on average"
    if interval is None:
        return f"{said}, which one start cannot tell from chance."
    said += f" ({round(100 * interval.level)} % interval {number(low)} to {number(high)})"
    return f"{said}." if low > 0 else f"{said}: too little to tell them apart."


def _measure(results: Sequence[PolicyResult], comparisons: Sequence[ComparedPair]) -> Measure:
    """Return what the policies differ by."""
    if not _is_told(results):
        return "return"
    differs = any(_differs_in_return(one) for one in comparisons)
    return "return" if differs and all(_by_return(one) for one in comparisons) else "success"


def _differs_in_return(comparison: ComparedPair) -> bool:
    """Whether the return of any start differs: otherwise the interval of the difference is 0 to 0."""
    estimate = comparison.returns.difference
    interval = estimate.interval
    return estimate.value != 0 or (interval is not None and interval.low != interval.high)


def _by_return(comparison: ComparedPair) -> bool:
    """Whether success leaves open which is better, while the return tells, or is all that differs."""
    if comparison.success is None or comparison.success.pairing is None:
        return True
    pairing, interval = comparison.success.pairing, comparison.returns.difference.interval
    if pairing.only_a == pairing.only_b == 0:
        return True
    is_apart = interval is not None and 0.0 not in interval
    return pairing.p_value >= _LEVEL and is_apart


def _is_told(results: Sequence[PolicyResult]) -> bool:
    return all(result.successes is not None for result in results)


def _fails(result: PolicyResult) -> bool:
    return result.successes is not None and not all(result.successes)


def _scores(policies: Sequence[PolicyResult], wording: Wording, measure: Measure) -> str:
    baseline, *others = policies
    first = f"{baseline.name} {_outcome(baseline, wording, measure)}"
    if not others:
        return f"{first}."
    parts, rest = [first], list(others)
    same = [one for one in others if _on_the_same_labels(one, baseline)]
    if len(same) > 1:
        clauses = [f"{other.name} {_outcome(other, wording, measure, brief=True)}" for other in same]
        parts.append(f"with the same {baseline.cost.labels:,} labels, {_listed(clauses)}")
        rest = [one for one in others if one not in same]
    if rest:
        clauses = [
            f"{one.name}{_labels(one, baseline)} {_outcome(one, wording, measure, brief=True)}"
            for one in rest
        ]
        parts.append(_listed(clauses))
    return f"{'; '.join(parts)}."


def _beside(policies: Sequence[PolicyResult], wording: Wording) -> str:
    """Say how often they succeeded, where that does not tell them apart."""
    if len({policy.num_successes for policy in policies}) == 1:
        return f"Each of them {_outcome(policies[0], wording, 'success')}."
    clauses = [
        f"{policy.name} {_outcome(policy, wording, 'success', brief=index > 0)}"
        for index, policy in enumerate(policies)
    ]
    return f"As for success, {_listed(clauses)}."


def _expert_beside(expert: PolicyResult, wording: Wording, measure: Measure) -> str:
    outcome = _outcome(expert, wording, measure, brief=True)
    who = f"Even {in_sentence(expert.name)}" if measure == "success" else _opening(expert)
    return f"{who} {outcome}."


def _on_a_scale(report: Report, policies: Sequence[PolicyResult], measure: Measure) -> list[str]:
    """Say where policies are between random actions and the expert, or why nobody can."""
    if report.expert_gain is not None and not report.has_scale:
        return [_no_scale(report.expert_gain)]
    scale = [(policy.name, report.normalised(policy)) for policy in policies]
    clauses = [f"{name} is at {percent_of(value)}" for name, value in scale if value is not None]
    if not clauses or measure != "return":
        return []
    return [f"On the way from random actions to the expert {_listed(clauses)}."]


def _no_scale(gain: Estimate) -> str:
    between = ""
    if (interval := gain.interval) is not None:
        between = f", 95 % interval {signed(interval.low)} to {signed(interval.high)}"
    said = f"({signed(gain.value)} in return{between})"
    return f"The expert is not clearly better than random actions {said}: imitating it shows little here."


def _outcome(result: PolicyResult, wording: Wording, measure: Measure, *, brief: bool = False) -> str:
    if measure == "return" or result.successes is None:
        text = f"returned {number(result.mean_return.value)}"
        return text if brief else f"{text} on average" if result.num_starts > 1 else text
    text = wording.outcome
    if brief:
        end = max(text.index("{n}"), text.index("{k}")) + len("{n}")
        text = text[:end]
    return text.replace("{k}", f"{sum(result.successes):,}").replace("{n}", f"{result.num_starts:,}")


def _labels(other: PolicyResult, baseline: PolicyResult) -> str:
    cost = other.cost
    if cost.labels is None:
        return ""
    if not cost.is_of_all_labels:
        return f", trained on {cost.trained_labels:,} of its {cost.labels:,} labels,"
    same = "the same " if _on_the_same_labels(other, baseline) else ""
    return f", with {same}{cost.labels:,} labels,"


def _on_the_same_labels(one: PolicyResult, other: PolicyResult) -> bool:
    """Whether both were trained on as many labels as were asked for either."""
    is_same = one.cost.labels is not None and one.cost.labels == other.cost.labels
    return is_same and one.cost.is_of_all_labels and other.cost.is_of_all_labels


def _leader(comparisons: Sequence[ComparedPair], measure: Measure) -> ComparedPair:
    def score(one: ComparedPair) -> tuple[float, float]:
        success = one.success.difference.value if one.success is not None and measure == "success" else 0.0
        return success, one.returns.difference.value

    return max(comparisons, key=score)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count:,} times")


def in_sentence(name: str) -> str:
    """Return the name as it stands within a sentence: "Expert" becomes "the expert"."""
    return "the expert" if name.lower() in ("expert", "the expert") else name


def _opening(expert: PolicyResult) -> str:
    """Return how a sentence begins that is about the expert; names stay as they are."""
    name = in_sentence(expert.name)
    if name == "the expert":
        return "The expert"
    return name if name[:1].isupper() else f"The expert {name}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
