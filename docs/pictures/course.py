"""The pictures of the course: runs the blocks of a page, then draws what they computed.

python docs/pictures/course.py          all of them, about two minutes of one core
python docs/pictures/course.py 06 12    some of them
"""

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
COURSE = HERE.parent / "course"
sys.path.insert(0, str(HERE))

from draw import Chart, save  # noqa: E402
from markupsafe import Markup  # noqa: E402

from steadyhand.analysis.axes import drawing, tag  # noqa: E402

Names = dict[str, Any]
PICTURES: dict[str, Callable[[Names, Path], None]] = {}


def picture(number: str) -> Callable[[Callable[[Names, Path], None]], Callable[[Names, Path], None]]:
    """Register how the picture of a page is drawn from the names that its blocks leave."""

    def note(draw: Callable[[Names, Path], None]) -> Callable[[Names, Path], None]:
        PICTURES[number] = draw
        return draw

    return note


def run(page: Path) -> Names:
    """Run the Python blocks of a page in a folder of their own."""
    names: Names = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, str(page), "exec"), names)
    return names


@picture("01")
def grids(names: Names, path: Path) -> None:
    """Four plans on the grid: an arrow in each cell."""
    from steadyhand.envs.tabular.layouts import GRID

    size, parts = 26, []
    arrows = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}
    marks = {"1": "+1", "T": "+10", "C": "-10"}
    for place, ((discount, slip), plan) in enumerate(names["plans"].items()):
        left, top = 10 + place % 2 * 215, 26 + place // 2 * 175
        parts.append(tag("text", f"discount {discount}, slip {slip}", x=left, y=top - 9))
        for state, mark in enumerate("".join(GRID)):
            x, y = left + state % 5 * size, top + state // 5 * size
            fill = {"#": "#777", "C": "#e4572e55", "1": "#00897b55", "T": "#00897baa"}.get(mark, "none")
            parts.append(tag("rect", x=x, y=y, width=size, height=size, fill=fill, class_="axis"))
            if mark in marks:
                parts.append(tag("text", marks[mark], x=x + size / 2, y=y + 17, text_anchor="middle"))
            elif mark != "#":
                dx, dy = arrows[names["mdp"].action_names[plan.action[state]]]
                x, y = x + size / 2, y + size / 2
                tip, side = (x + 8 * dx, y + 8 * dy), (4 * dy, 4 * dx)
                d = f"M{x - 8 * dx},{y - 8 * dy}L{tip[0]},{tip[1]}"
                d += f"M{x + 3 * dx + side[0]},{y + 3 * dy + side[1]}L{tip[0]},{tip[1]}"
                d += f"L{x + 3 * dx - side[0]},{y + 3 * dy - side[1]}"
                colour = "#e4572e" if mark == "S" else "#5b6ee1"
                parts.append(tag("path", d=d, stroke=colour, stroke_width=1.6, fill="none"))
    _save(parts, path, height=345, label="The best action in each cell of the grid for four tasks.")


@picture("02")
def three_policies(names: Names, path: Path) -> None:
    """Steering against the lateral offset, all else as in the middle of a straight road."""
    chart = Chart(
        x=(-0.3, 0.3),
        y=(-1, 1),
        x_ticks=(-0.3, -0.15, 0, 0.15, 0.3),
        y_ticks=(-1, 0, 1),
        x_title="offset to the left [m]",
        y_title="steering, left is positive",
    )
    feature = np.zeros((121, *names["env"].spec.observation["observation.state"].shape), dtype=np.float32)
    feature[:, 0], feature[:, 3] = np.linspace(-0.3, 0.3, 121), 2.5
    for name, policy in names["policies"].items():
        policy.reset()
        chart.line(feature[:, 0], policy({"state": feature})[:, 0], name=name)
        policy.reset()
    demos = names["demos"]
    episodes = [demos.episode(number) for number in range(demos.num_episodes)]
    shown = np.concatenate([one.observation["observation.state"][:, 0] for one in episodes])
    chart.dots(shown[::5], np.full(len(shown[::5]), -0.97), name="offsets shown", radius=1.4)
    chart.save(path, label="Steering of a table, a line and a network against the offset from the middle.")


@picture("03")
def likelihood(names: Names, path: Path) -> None:
    """The loss of every share, and where the net ended."""
    shares, loss = names["shares"], names["loss"]
    chart = Chart(
        x=(0, 1),
        y=(0.5, 2.0),
        x_ticks=(0, 0.25, 0.5, 0.75, 1),
        y_ticks=(0.5, 1, 1.5, 2),
        x_title="share that the policy gives to 'left'",
        y_title="-log likelihood a step [nat]",
    )
    inside = loss < 2.0
    chart.line(shares[inside], loss[inside], name="every possible answer")
    chart.dots(
        [names["learnt"]], [np.interp(names["learnt"], shares, loss)], name="what the net learnt", radius=5
    )
    chart.save(path, label="The negative log-likelihood is least at the share of the data.")


@picture("04")
def hills(names: Names, path: Path) -> None:
    """Two retinas and the thirty steering units above each."""
    camera, demos, network = "observation.images.front", names["demos"], names["alvinn"].network
    episodes = [demos.episode(number) for number in range(demos.num_episodes)]
    pictures = np.concatenate([one.observation[camera] for one in episodes])
    steering = np.concatenate([one.expert_action[:, 0] for one in episodes])
    parts = []
    for place, side in enumerate(("left", "right")):
        step = int(steering.argmax() if side == "left" else steering.argmin())
        seen, retina = {camera: torch.from_numpy(pictures[step][None, None])}, pictures[step]
        context = network.encode(seen, torch.zeros(1, 1, dtype=torch.bool), None)
        units = network.head.units(context)[0, 0, 0].detach().numpy()
        words = f"a bend to the {side}: unit {units.argmax() + 1} of 30"
        print(f"{words}, steering {steering[step]:.2f}")
        left = 20 + place * 215
        parts.append(tag("text", words, x=left, y=16))
        for line in range(30):
            shades = (retina[line, :, 0] // 24).tolist()
            column = 0
            while column < 32:
                end = next((place for place in range(column, 32) if shades[place] != shades[column]), 32)
                if shades[column] > 4:
                    fill = "#" + f"{24 * shades[column]:02x}" * 3
                    size = {"width": 5 * (end - column) + 0.1, "height": 5.1}
                    parts.append(tag("rect", x=left + 5 * column, y=100 + 5 * line, **size, fill=fill))
                column = end
        parts.insert(0, tag("rect", x=left, y=100, width=160, height=150, fill="#555"))
        top = max(float(units.max()), 1e-6)
        for number, unit in enumerate(units[::-1]):
            high = 60 * float(unit) / top
            parts.append(
                tag("rect", x=left + 5.3 * number, y=92 - high, width=4.3, height=high, fill="#e4572e")
            )
    _save(parts, path, height=258, label="Thirty steering units above the picture that they answer to.")


@picture("05")
def drift(names: Names, path: Path) -> None:
    """How far from the middle, along the episode, for each start."""
    drives = {name: names["drives"][name] for name in ("clone", "expert")}
    label = "The expert stays near the middle; the clone drifts and leaves the road."
    _distances(drives, path, seconds=20, every=6, label=label)


@picture("06")
def square(names: Names, path: Path) -> None:
    """Cost against horizon on logarithmic axes."""
    costs = {name: (names["horizons"], cost) for name, cost in names["cost"].items()}
    label = "The clone's cost grows as the square of the horizon, the other in proportion."
    _powers(
        costs, path, x=(3, 7), y=(-3, 1), x_title="steps of the task, T", y_title="expected cost", label=label
    )


@picture("07")
def rounds(names: Names, path: Path) -> None:
    """Tracks of the clone and of DAgger from the same test starts."""
    drives = {name: names["drives"][name] for name in ("clone", "DAgger")}
    label = "DAgger's drives stay on the road from the starts from which the clone's leave it."
    _distances(drives, path, seconds=10, every=4, label=label)


@picture("08")
def principle(names: Names, path: Path) -> None:
    """Error where the expert goes and where the learner goes, by number of drives."""
    drives, shown, own = zip(*names["history"], strict=True)
    errors = {"where the expert goes": (drives, shown), "where it goes itself": (drives, own)}
    label = "After one drive the error in the learner's own states is twelve times the other."
    title = "probability of a mistake, per step"
    _powers(errors, path, x=(0, 5), y=(-3, 0), x_title="drives", y_title=title, label=label)


@picture("09")
def luck(names: Names, path: Path) -> None:
    """Share of clones still on the road, by what they see."""
    chart = Chart(
        x=(0, 30),
        y=(0, 1),
        x_ticks=(0, 10, 20, 30),
        y_ticks=(0, 0.5, 1),
        y_text=lambda value: f"{100 * value:g} %",
        x_title="time [s]",
        y_title="still on the road",
    )
    for name, driven in names["kept"].items():
        end = np.sort(np.minimum(driven.first_failure, 30.0))
        xs, ys = [0.0], [1.0]
        for count, time in enumerate(end):
            if time < 30.0:
                xs += [time, time]
                ys += [ys[-1], 1 - (count + 1) / len(end)]
        chart.line([*xs, 30.0], [*ys, ys[-1]], name=name)
    chart.save(path, label="Clones that see a lidar stay on the road; clones that see pixels leave it.")


@picture("10")
def noise(names: Names, path: Path) -> None:
    """Size of the state along the drives, on a logarithmic axis."""
    chart = Chart(
        x=(0, 60),
        y=(-4, 4),
        x_ticks=(0, 20, 40, 60),
        y_ticks=(-4, -2, 0, 2, 4),
        y_text=lambda value: f"1e{value:g}",
        x_title="step",
        y_title="distance from rest",
    )
    for sigma, name in ((0.0, "clean demonstrations"), (0.1, "demonstrations with noise")):
        for track in names["drives"][sigma].positions:
            size = np.log10(np.maximum(np.linalg.norm(track[:60], axis=1), 1e-4))
            on = size < 4
            chart.line(np.arange(len(size))[on], size[on], name=name, thin=True)
    chart.save(path, label="Without noise the clone's state grows without end; with it it comes to rest.")


@picture("11")
def corrections(names: Names, path: Path) -> None:
    """The demonstration in the plane, and what each label says to do beside it."""
    track, labels = names["track"], names["labels"]
    chart = Chart(
        x=(-0.8, 1.1),
        y=(-0.9, 0.5),
        x_ticks=(-0.5, 0, 0.5, 1),
        y_ticks=(-0.8, -0.4, 0, 0.4),
        x_title="position [m]",
        y_title="speed [m/s]",
        height=240,
    )
    chart.line(track[:, 0], track[:, 1], name="demonstration")
    for label in labels[::2]:
        seen = label.observation["observation.state"][0]
        reached = names["step"](seen[None].astype(float), label.expert_action[:1].astype(float))[0]
        chart.line([seen[0], reached[0]], [seen[1], reached[1]], name="one step of the label's action")
        chart.dots([seen[0]], [seen[1]], name="state beside it", radius=2)
    chart.save(path, label="Labels beside the demonstration lead back onto it in one step.")


@picture("12")
def average(names: Names, path: Path) -> None:
    """Demonstrations and drives at the fork."""
    _fork({"demonstrations": names["shown"], "the average of both": names["driven"].positions}, path)


@picture("13")
def both_ways(names: Names, path: Path) -> None:
    """Drives of a mixture and of a flow at the fork."""
    _fork({name: driven.positions[:24] for name, driven in names["drives"].items()}, path)


@picture("14")
def seeds(names: Names, path: Path) -> None:
    """Five seeds with their own intervals, and the interval that holds for a new one."""
    from steadyhand.core.statistics import wilson

    chart = Chart(
        x=(-0.5, 6.5),
        y=(0, 1),
        x_ticks=range(5),
        x_text=lambda value: f"seed {value:g}",
        y_ticks=(0, 0.25, 0.5, 0.75, 1),
        y_text=lambda value: f"{100 * value:g} %",
        y_title="cars kept on the road",
    )
    for seed, count in enumerate(names["kept"]):
        interval = wilson(int(count), 64)
        chart.whisker(seed, interval.low, interval.high, name="one seed, 64 starts")
        chart.dots([seed], [count / 64], name="one seed, 64 starts")
    estimate = names["estimate"]
    chart.whisker(5.8, estimate.interval.low, estimate.interval.high, name="all five, for a new seed")
    chart.dots([5.8], [estimate.value], name="all five, for a new seed", radius=5)
    chart.save(path, label="Cloning keeps 23 to 94 percent of the cars, by seed.")


def _distances(drives: dict[str, Any], path: Path, *, seconds: int, every: int, label: str) -> None:
    """Draw how far from the middle of the road each drive is, at every so many steps."""
    chart = Chart(
        x=(0, seconds),
        y=(0, 0.32),
        x_ticks=[seconds * part / 4 for part in range(5)],
        y_ticks=(0, 0.1, 0.2, 0.3),
        x_title="time [s]",
        y_title="distance from the middle of the road [m]; the edge is at 0.3",
    )
    for name, driven in drives.items():
        time = 0.05 * np.arange(driven.error.shape[1])
        for row in driven.error:
            on = np.flatnonzero(~np.isnan(row))[::every]
            chart.line(time[on], np.minimum(np.abs(row[on]), 0.32), name=name, thin=True)
    chart.save(path, label=label)


def _powers(curves: dict[str, Any], path: Path, *, label: str, **axes: Any) -> None:
    """Draw curves over powers of two, in powers of ten; `x` and `y` are the exponents at the ends."""
    ticks = {f"{name}_ticks": range(axes[name][0], axes[name][1] + 1) for name in "xy"}
    words = {"x_text": lambda value: f"{2**value:g}", "y_text": lambda value: f"{10**value:g}"}
    chart = Chart(**axes, **ticks, **words)
    for name, (places, values) in curves.items():
        chart.line(np.log2(places), np.log10(values), name=name)
        chart.dots(np.log2(places), np.log10(values), name=name)
    chart.save(path, label=label)


def _fork(ways: dict[str, Any], path: Path) -> None:
    chart = Chart(
        x=(-0.05, 2.2),
        y=(-0.7, 0.7),
        x_ticks=(0, 0.5, 1, 1.5, 2),
        y_ticks=(-0.5, 0, 0.5),
        x_title="x [m]",
        y_title="y [m]",
        height=232,
    )
    chart.circle(1.0, 0.0, 0.25)
    for name, tracks in ways.items():
        for track in tracks:
            chart.line(track[:, 0], track[:, 1], name=name, thin=name == "demonstrations")
    chart.save(path, label="Ways past the tree: " + ", ".join(ways) + ".")


def _save(parts: list[Markup], path: Path, *, height: float, label: str) -> None:
    from draw import STYLE

    save(drawing(tag("style", Markup(STYLE)), *parts, height=height, width=440, label=label), path)


def main(wanted: list[str]) -> None:
    """Make the pictures of the pages that begin with these numbers, or all."""
    for page in sorted(COURSE.glob("[0-9]*.md")):
        number = page.name[:2]
        if wanted and number not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            home = Path.cwd()
            os.chdir(folder)
            print(f"== {page.name}")
            PICTURES[number](run(page), HERE / f"course-{number}.svg")
            os.chdir(home)


if __name__ == "__main__":
    main(sys.argv[1:])
