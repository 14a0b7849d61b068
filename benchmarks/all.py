"""Run every benchmark and write the table of docs/results/speed.md.

python benchmarks/all.py              run all on one core, about ten minutes; then write the table
python benchmarks/all.py car rollout  run some; the lines of the others are kept
python benchmarks/all.py --table      only write the table from docs/results/speed.jsonl

policies_speed (half an hour) and dagger_peers (eight minutes) want other libraries (see there): they run only
when they are named.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from steadyhand.core.provenance import Provenance

HERE = Path(__file__).parent
RESULTS = HERE.parent / "docs" / "results"
LINES, PAGE = RESULTS / "speed.jsonl", RESULTS / "speed.md"
SHORT = ("training_step", "data_windows", "data_recording", "car", "worlds", "rollout", "startup", "face")
NAMES = (*SHORT, "policies_speed", "dagger_peers")
BEGIN, END = "<!-- speed -->", "<!-- end speed -->"
UNRECORDED = "one thread of an x86_64 CPU, Python 3.11.7; CPU model, torch, commit and date were not recorded"
Line = dict[str, Any]


def run(name: str) -> list[Line]:
    """Run one benchmark in an interpreter of its own, on one thread, and return its lines."""
    command = [sys.executable, str(HERE / f"{name}.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    sys.stderr.write(done.stdout)
    place = where()
    return [{"benchmark": name, **json.loads(line), "where": place} for line in done.stdout.splitlines()]


def where() -> str:
    """Return what a line was measured on, and when."""
    info = Path("/proc/cpuinfo")
    models = [row for row in info.read_text().splitlines() if "model name" in row] if info.is_file() else []
    cpu = models[0].split(":", 1)[1].strip() if models else platform.processor() or platform.machine()
    made = Provenance.of_this_process()
    commit = made.commit[:10] or "unknown"
    code = f"Python {made.python}, torch {made.torch}, NumPy {made.numpy}, commit {commit}"
    return f"{cpu}, one thread, {code}, {datetime.now(UTC):%Y-%m-%d}"


def read() -> list[Line]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.is_file() else []


def table(lines: list[Line]) -> str:
    """Return the lines as Markdown, one row each."""
    rows = ["| what | measured | floor | ratio | asked | met |", "| --- | --: | --: | --: | --- | --- |"]
    for line in lines:
        floor = "" if line["floor"] is None else f"{plain(line['floor'])} ({line['floor_is']})"
        ratio = "" if line["ratio"] is None else f"{line['ratio']:.2f}"
        met = {True: "yes", False: "**no**", None: ""}[line["met"]]
        value = f"{plain(line['value'])} {line['unit']}"
        rows.append(f"| {line['name']} | {value} | {floor} | {ratio} | {asked(line)} | {met} |")
    return "\n".join(rows)


def filled(page: str, lines: list[Line]) -> str:
    """Return the page with its table made anew."""
    before, rest = page.split(BEGIN, 1)
    places: dict[str, list[str]] = {}
    for line in lines:
        names = places.setdefault(line.get("where", UNRECORDED), [])
        names += [line["benchmark"]] * (line["benchmark"] not in names)
    told = "\n".join(f"- {', '.join(names)}: {place}." for place, names in places.items())
    return f"{before}{BEGIN}\n{table(lines)}\n\nMeasured on:\n\n{told}\n{END}{rest.split(END, 1)[1]}"


def asked(line: Line) -> str:
    if not line["target"]:
        return ""
    figure, sign, bound = line["target"].split()
    return f"{'ratio ' * (figure == 'ratio')}{sign} {plain(float(bound))}"


def plain(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    lines = read()
    for name in () if arguments.table else arguments.names or SHORT:
        lines = [line for line in lines if line["benchmark"] != name] + run(name)
        lines.sort(key=lambda line: NAMES.index(line["benchmark"]))
        LINES.write_text("".join(json.dumps(line) + "\n" for line in lines))
    PAGE.write_text(filled(PAGE.read_text(), lines))


if __name__ == "__main__":
    main()
