"""`steadyhand data info|check|repair|compact|modes`: look at a data set. Nothing here imports torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.flags import (
    ChosenEpisodes,
    ControlDt,
    Overrides,
    Rename,
    assumed_rate,
    listed,
    optional,
    renaming,
    step_of,
)
from steadyhand.face.progress import progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from steadyhand.analysis.data_modes import DataModes
    from steadyhand.core.specs import EnvSpec
    from steadyhand.data.base import Dataset
    from steadyhand.data.problems import Problem

Data = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DATA")]


@dataclass(frozen=True, kw_only=True)
class InfoArguments:
    """Describe a data set: episodes, steps, features, cameras, tasks, who recorded it."""

    data: Data
    """Folder of the data set (LeRobot v3.0 or v2.1, or a recording of ours), or a .npz file."""
    control_dt: ControlDt = None
    rename: Rename = ()
    episodes: ChosenEpisodes = ""


@dataclass(frozen=True, kw_only=True)
class CheckArguments:
    """Look for everything that is wrong with a data set, and say what to do about each.

    Leaves with status 1 if there are errors; warnings alone leave with 0.
    """

    data: Data
    """Folder of the data set, or a .npz file."""
    control_dt: ControlDt = None
    rename: Rename = ()
    episodes: ChosenEpisodes = ""
    depth: Literal["quick", "full"] = "full"
    """full decodes every picture; quick the first, middle and last one of each episode."""
    env: Annotated[str, optional("ENV", default="none")] = ""
    """Replay the recorded actions in this env: do they lead where the data say? Any Gymnasium id, too."""
    set: Overrides = ()
    """Settings of that env where they are not its defaults, such as env.length=0.5."""


@dataclass(frozen=True, kw_only=True)
class CompactArguments:
    """Make files that LeRobot opens of what a killed recording left in its journal.

    Nothing needs it to be read here: training and evaluation read journals as they are.
    """

    data: Data
    """Folder of the recording."""
    set_damage_aside: bool = False
    """Compact a damaged journal too: what can be read moves, and the journal as it was is kept beside it."""


@dataclass(frozen=True, kw_only=True)
class RepairArguments:
    """Write a mended copy of a data set: what is certain is put right, and said; what is doubtful stays.

    Copies of episodes are left out, index columns, timestamps and statistics are made anew, names are changed
    as --rename says. Actions are paired anew as --shift says, or as replaying them in --env shows.
    """

    data: Data
    """Folder of the data set, or a .npz file; it is never changed."""
    out: Path
    """Folder of the copy, LeRobot v3.0; there must be nothing yet."""
    shift: Literal[-1, 0, 1] = 0
    """Which action belongs to observation t: that of step t - 1, t or t + 1; `data check --env` tells."""
    lossy: bool = False
    """Write the copy although it cannot hold everything; what is lost is named first."""
    control_dt: ControlDt = None
    rename: Rename = ()
    episodes: ChosenEpisodes = ""
    env: Annotated[str, optional("ENV", default="none")] = ""
    """Env in which the recorded actions are replayed to find the shift."""
    set: Overrides = ()
    """Settings of that env where they are not its defaults, such as env.length=0.5."""


@dataclass(frozen=True, kw_only=True)
class ModesArguments:
    """Ask whether the demonstrators went several ways from one state.

    Around states drawn at random, the nearest states of other episodes are taken, and their actions are cut
    into two clusters. A state counts where these explain more than two clusters of one lump would. Says from
    which share of two-way states on it would have seen them. Reads vectors, not pictures.
    """

    data: Data
    """Folder of the data set, or a .npz file."""
    control_dt: ControlDt = None
    rename: Rename = ()
    episodes: ChosenEpisodes = ""
    features: Annotated[tuple[str, ...], listed("FEATURE", default="every vector")] = ()
    """Features that make up the state."""
    horizon: int = 8
    """Steps of an action chunk."""
    neighbours: int = 32
    """Nearest states at most, each of another episode; fewer where the next ones are far."""
    states: int = 256
    """States to look at."""
    seed: int = 0
    """Seed of the draws."""


USAGE = """usage: steadyhand data info|check|repair|compact|modes DATA

  info     describe a data set: episodes, steps, features, cameras, tasks
  check    look for everything that is wrong with it, and say what to do
  repair   write a copy in which what is certain is mended
  compact  make files that LeRobot opens of what a killed recording left
  modes    ask whether it holds several ways of doing the task

`steadyhand data check --help` explains an action."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    match arguments[:1]:
        case ["info"]:
            return _info(parse(InfoArguments, arguments[1:], verb="data info"))
        case ["check"]:
            return _check(parse(CheckArguments, arguments[1:], verb="data check"))
        case ["repair"]:
            return _repair(parse(RepairArguments, arguments[1:], verb="data repair"))
        case ["compact"]:
            return _compact(parse(CompactArguments, arguments[1:], verb="data compact"))
        case ["modes"]:
            return _modes(parse(ModesArguments, arguments[1:], verb="data modes"))
        case [] | ["-h"] | ["--help"]:
            terminal.say(USAGE)
            return 0
        case _:
            from steadyhand.core.errors import ConfigError

            raise ConfigError(
                "There is no such action.",
                got=arguments[0],
                available=("info", "check", "repair", "compact", "modes"),
            )


def _opened(
    chosen: InfoArguments | CheckArguments | RepairArguments | ModesArguments,
    *,
    like: "EnvSpec | None" = None,
) -> "Dataset":
    """Open the data; the time step, which an npz file does not know, is that of an env."""
    from steadyhand.data.dataset import open_any

    return open_any(
        chosen.data,
        control_dt=step_of(chosen.control_dt) if like is None else like.control_dt,
        rename=renaming(chosen.rename),
        episodes=chosen.episodes or None,
    )


def _say_assumed_rate(chosen: InfoArguments | CheckArguments | RepairArguments) -> None:
    if said := assumed_rate(chosen.data, chosen.control_dt):
        terminal.say(f"note: {said}")


def _info(chosen: InfoArguments) -> int:
    from steadyhand.data.info import summarise

    _require(chosen.data)
    found = summarise(_opened(chosen), path=chosen.data)
    least, median, most = found.length
    spread = f"{least} steps" if least == most else f"{least} to {most} steps, median {median:g}"
    made_by = ", ".join(text for text in (found.robot_type, found.env_id) if text) or "unknown"
    terminal.heading(found.root)
    facts = [
        ("format", f"{found.version}, {found.size_bytes / 1e6:.1f} MB"),
        ("recorded on", made_by),
        ("episodes", f"{found.num_episodes}, of {spread}"),
        ("steps", f"{found.num_frames} at {1 / found.control_dt:g} Hz: {_duration(found.duration_s)}"),
        ("sources", _counted(found.sources)),
        ("outcomes", _counted(found.outcomes)),
    ]
    if found.num_pending:
        facts.append(("in the journal", f"{found.num_pending} episodes that are not compacted yet"))
    if found.num_damaged:
        facts.append(("damaged", f"{found.num_damaged} records of the journal; see steadyhand data check"))
    if found.num_branches:
        facts.append(("branches", f"{found.num_branches} synthetic one-step episodes"))
    terminal.table(["", ""], facts, left=2)
    _say_assumed_rate(chosen)
    rows = [["action", str(list(found.action.shape)), found.action.dtype, found.action.kind]]
    rows += [[name, str(list(s.shape)), s.dtype, s.kind] for name, s in found.observation.items()]
    terminal.say()
    rows += [
        [name, str(list(size)), "float32", "depth [m], not for policies"]
        for name, size in found.depth.items()
    ]
    terminal.table(["feature", "shape", "dtype", "kind"], rows, left=4)
    for camera in found.cameras:
        missing = found.num_episodes - camera.available
        note = f", {missing} episodes lack their file" if missing else ""
        terminal.say(f"{camera.name}: stored as {camera.stored_as}{note}")
    terminal.say()
    terminal.table(["task", "episodes"], [[text or "(none)", str(n)] for text, n in found.tasks.items()])
    return 0


def _check(chosen: CheckArguments) -> int:
    from steadyhand.data.checks import check

    _require(chosen.data)
    with progress("episodes") as bar:
        report = check(
            chosen.data,
            depth=chosen.depth,
            control_dt=step_of(chosen.control_dt),
            rename=renaming(chosen.rename),
            episodes=chosen.episodes or None,
            tick=bar(""),
        )
    if chosen.env:
        from steadyhand.cli.data_replay import not_replayed, replayed

        found = replayed(chosen, _opened) if report.ok else (not_replayed(chosen, "there are errors", ""),)
        report = report.with_problems(found)
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for problem in report.problems:
        places.setdefault((problem.severity, problem.code, problem.what, problem.hint), []).append(
            problem.where
        )
    for (severity, code, what, hint), where in places.items():
        more = f" (and {len(where) - 1} more, the last: {where[-1]})" if len(where) > 1 else ""
        terminal.finding(severity, f"{code}: {where[0]}{more}", what, hint)
    _say_assumed_rate(chosen)
    terminal.say(f"{chosen.data}: {_counts(report.problems)}")
    return 0 if report.ok else 1


def _repair(chosen: RepairArguments) -> int:
    from steadyhand.cli.data_replay import replay_in_env
    from steadyhand.data.checks import check
    from steadyhand.data.repair import losses, repair

    _require(chosen.data)
    shift = chosen.shift
    if chosen.env:
        answer = replay_in_env(chosen, _opened)
        terminal.say(f"error of the pairings with the action of step {answer.table}")
        if answer.verdict == "other":
            from steadyhand.core.errors import DataError

            raise DataError(
                "These data follow other dynamics than the env, so it does not tell their pairing.",
                got=answer.table,
                hint="name the env that was recorded, with --set env.FIELD=VALUE, or give --shift",
            )
        shift = _as_shift(answer.pairing if answer.verdict == "shifted" else 0)
    dataset = _opened(chosen)
    if chosen.lossy:
        for line in losses(dataset):
            terminal.say(f"lost: {line}")
    with progress("episodes") as bar:
        done = repair(dataset, chosen.out, shift=shift, lossy=chosen.lossy, tick=bar(""))
    for line in done.told:
        terminal.say(line)
    _say_assumed_rate(chosen)
    report = check(done.folder, depth="quick")
    terminal.say(
        f"{done.folder}: {terminal.counted(done.num_episodes, 'episode')}, {_counts(report.problems)}"
    )
    return 0 if report.ok else 1


def _as_shift(pairing: int) -> Literal[-1, 0, 1]:
    return 1 if pairing > 0 else -1 if pairing < 0 else 0


def _counts(problems: "Sequence[Problem]") -> str:
    counts = {kind: sum(p.severity == kind for p in problems) for kind in ("error", "warning", "note")}
    return ", ".join(terminal.counted(n, kind) for kind, n in counts.items() if n) or "nothing is wrong"


def _compact(chosen: CompactArguments) -> int:
    from steadyhand.data.store import EpisodeStore

    _require(chosen.data)
    with EpisodeStore.open(chosen.data) as store:
        moved = store.compact(set_damage_aside=chosen.set_damage_aside)
    terminal.say(f"{chosen.data}: {terminal.counted(moved, 'episode')} moved into LeRobot's files")
    return 0


def _modes(chosen: ModesArguments) -> int:
    from steadyhand.analysis.data_modes import data_modes, vectors

    _require(chosen.data)
    dataset = _opened(chosen)
    names = chosen.features or vectors(dataset.observation)
    found = data_modes(
        dataset.frames(names),
        features=names,
        horizon=chosen.horizon,
        neighbours=chosen.neighbours,
        num_states=chosen.states,
        seed=chosen.seed,
    )
    total = found.num_states

    def of(count: int) -> str:
        return f"{count} of {total} ({100 * count / total:.1f} %)"

    low, high = found.interval.low, found.interval.high
    facts = [
        (
            "states with several ways",
            f"{of(found.multimodal)}, 95 % interval {100 * low:.1f} to {100 * high:.1f} %",
        ),
        ("one lump, same covariance", of(found.unimodal_control)),
        ("actions of random states", of(found.shuffled_control)),
        ("neighbours", f"{found.neighbours}, within {found.radius:.2f} standard deviations a feature"),
        ("actions that a state explains", f"{100 * found.explained:.0f} % of the variance"),
    ]
    if (wide := found.wide) is not None:
        groups = (
            f"two groups, {100 * wide.share:.0f} and {100 - 100 * wide.share:.0f} %, mixed among near states"
            if wide.is_multimodal
            else "no two groups that the state does not tell apart"
        )
        facts.append((f"of {wide.num_states} episodes at once", groups))
    terminal.heading(str(chosen.data))
    terminal.table(["", ""], facts, left=2)
    terminal.say(f"\n{_answer(found)}, from chunks of {terminal.counted(chosen.horizon, 'step')}")
    return 0


def _answer(found: "DataModes") -> str:
    if found.is_multimodal:
        return "several ways"
    if found.smallest_share is None:
        return (
            "cannot tell: even if every state had two ways, so few or so noisy episodes would not show it; "
            "record more"
        )
    share = f"{100 * found.smallest_share:.0f} %"
    return f"no sign of several ways; they would have been seen from {share} of the states on"


def _require(path: Path) -> None:
    if not path.exists():
        from steadyhand.core.errors import DataError

        raise DataError("There is no such folder or file.", got=path, hint="check the path")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
