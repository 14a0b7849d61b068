"""Do the data have modes, and does the policy keep them? All tables of docs/results/policies.md.

    python benchmarks/multimodal.py run [--only NAME] [--shard i/n]   compute the cells that are missing
    python benchmarks/multimodal.py table                            write the tables into the page

A cell is one (env, demonstrator, policy class, seed): demonstrations, a fit, and rollouts that draw samples
where the class is one that samples. Everything below was fixed before a result was seen, unless the page
says otherwise. See pages.py for how cells are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from multimodal_cells import (
    CHUNKED,
    CLASSES,
    CLEAN,
    LATE,
    LONGER,
    SEEDS,
    SHARES,
    SIZES,
    TEMPERATURES,
    cells,
    demonstrations_cell,
    results,
)
from pages import PAGES

from steadyhand.analysis.multimodality import normalised_entropy
from steadyhand.cli.experiment import main
from steadyhand.core.statistics import clustered_rate


def percent(values: Sequence[float]) -> str:
    """Return the mean share and each seed's, in per cent; a dash where there is none."""
    there = [value for value in values if not np.isnan(value)]
    if not there:
        return "none passes"
    each = ", ".join("-" if np.isnan(value) else f"{100 * value:.1f}" for value in values)
    return f"**{100 * float(np.mean(there)):.1f}** ({each})"


def failed(result: Mapping[str, Any]) -> float:
    """Return the share of rollouts that did not pass."""
    return float((np.array(result["modes"]) < 0).mean())


def collided(result: Mapping[str, Any]) -> float:
    """Return the share of rollouts that ended in the tree; what else does not pass ran out of time."""
    return float(result["collided"]) / len(result["modes"])


def left(result: Mapping[str, Any]) -> float:
    """Return the share of the passing rollouts that passed on the left; NaN if none passed."""
    modes = np.array(result["modes"])
    return float((modes == 0).sum() / (modes >= 0).sum()) if (modes >= 0).any() else float("nan")


def entropy(result: Mapping[str, Any], num_modes: int) -> float:
    """Return the behaviour entropy of the passing rollouts; 0 if none passed."""
    modes = np.array(result["modes"])
    counts = np.bincount(modes[modes >= 0], minlength=num_modes)
    return float(normalised_entropy(counts)) if counts.any() else 0.0


def variants(place: str, name: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the results of a class, and those of the same weights asked in another way."""
    found = results(place, name)
    shown = [(name, found)]
    if found and "z drawn" in found[0]:
        drawn = [{**one, **one["z drawn"]} for one in found]
        shown.append((name.replace("z = 0", "z drawn"), drawn))
    return shown


def fork_rows(place: str, names: Sequence[str]) -> list[str]:
    """Return one row for each policy class."""
    rows = [
        "| policy class | parameters | collide, % | do not arrive, % | left, % of those that pass | entropy |"
    ]
    rows.append("|---|---|---|---|---|---|")
    for name, found in (variant for one in names for variant in variants(place, one)):
        if not found:
            continue
        hit = percent([collided(one) for one in found])
        late = f"{100 * np.mean([failed(one) - collided(one) for one in found]):.1f}"
        lefts = percent([left(one) for one in found])
        entropies = f"{np.mean([entropy(one, 2) for one in found]):.2f}"
        rows.append(f"| {name} | {found[0]['parameters']:,} | {hit} | {late} | {lefts} | {entropies} |")
    return rows


def temperature_table() -> str:
    """Return autoregressive bins against their temperature."""
    head = " | ".join(f"{share}: collide, % | left, %" for share in SHARES)
    rows = [f"| temperature | {head} |", "|---|" + "---|---|" * len(SHARES)]
    for temperature in TEMPERATURES:
        columns: list[str] = []
        for share in SHARES:
            found = [one[f"at {temperature}"] for one in results(f"forks {share}", "bins, autoregressive")]
            if found:
                columns += [percent([collided(one) for one in found]), percent([left(one) for one in found])]
        rows.append(f"| {temperature:g} | {' | '.join(columns)} |")
    return "\n".join(rows)


def prefix_table() -> str:
    """Return how often a chunk keeps the mode of its frozen prefix."""
    rows = [
        "| policy class | method | frozen steps | same mode, % | largest deviation [m/s] |",
        "|---|---|---|---|---|",
    ]
    for name in CHUNKED:
        found = [one["same mode"] for one in results("forks 50/50", name)]
        for key in found[0] if found else ():
            label, frozen = key.rsplit(", ", 1)
            same = percent([one[key]["same"] for one in found])
            worst = max(one[key]["deviation"] for one in found)
            rows.append(f"| {name} | {label} | {frozen.split()[0]} | {same} | {worst:.3f} |")
    return "\n".join(rows)


def delay_table() -> str:
    """Return what an inference delay does, with and without real-time chunking."""
    rows = ["| place | policy class | delay | execution | do not arrive, % | left, % | persistence |"]
    rows.append("|---|---|---|---|---|---|---|")
    for place, name in ((place, name) for place in ("forks 50/50", "late forks 50/50") for name in CHUNKED):
        found = results(place, name)
        for delay in (0, 2, 4):
            for label, suffix in (("receding horizon", ""), ("real-time chunking", ", real-time")):
                if not found or (delay == 0 and suffix):
                    continue
                ones = [one[f"delay {delay}{suffix}"] if delay else one for one in found]
                kept = np.mean([one["persistence"] for one in ones])
                rows.append(
                    f"| {place.removesuffix(' 50/50')} | {name} | {delay} | {label} "
                    f"| {percent([failed(one) for one in ones])} | {percent([left(one) for one in ones])} "
                    f"| {kept:.3f} |"
                )
    return "\n".join(rows)


def avoiding_table() -> str:
    """Return success and entropy on Avoiding."""
    rows = [
        "| policy class | parameters | success, %: interval (seeds) | entropy (seeds) | modes | training, s |"
    ]
    rows.append("|---|---|---|---|---|---|")
    shown = [variant for one in (*CLASSES, *LONGER, *CLEAN) for variant in variants("avoiding", one)]
    demonstrated = [result for seed in SEEDS if (result := demonstrations_cell(seed).result())]
    for name, found in [("the demonstrations", demonstrated), *shown]:
        if not found:
            continue
        success = np.array([np.array(one["modes"]) >= 0 for one in found], dtype=float)
        each = ", ".join(f"{100 * row.mean():.1f}" for row in success)
        interval = clustered_rate(success).interval if len(found) > 1 else None
        spread = f"{100 * interval.low:.0f} to {100 * interval.high:.0f}" if interval else "one seed"
        entropies = [entropy(one, 24) for one in found]
        seen = ", ".join(str(len(set(one["modes"]) - {-1})) for one in found)
        rows.append(
            f"| {name} | {found[0]['parameters']:,} | **{100 * success.mean():.1f}**: {spread} ({each}) "
            f"| **{np.mean(entropies):.3f}** ({', '.join(f'{one:.2f}' for one in entropies)}) | {seen} "
            f"| {np.mean([one['train_s'] for one in found]):.0f} |"
        )
    return "\n".join(rows)


def table(place: str, names: Sequence[str]) -> Callable[[], str]:
    """Return what makes a table of forks."""
    return lambda: "\n".join(fork_rows(place, names))


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    modes = len(set(result["modes"]) - {-1})
    return (
        f"fails {failed(result):.3f}, left {left(result):.3f}, {modes} modes, training {result['train_s']} s"
    )


TABLES = {
    "even": table("forks 50/50", tuple(CLASSES)),
    "uneven": table("forks 30/70", tuple(CLASSES)),
    "temperatures": temperature_table,
    "sizes": table("forks 50/50", tuple(SIZES)),
    "late": table("late forks 50/50", LATE),
    "prefixes": prefix_table,
    "delays": delay_table,
    "avoiding": avoiding_table,
}

if __name__ == "__main__":
    main(cells(), page=PAGES / "policies.md", tables=TABLES, describe=describe, doc=__doc__)
