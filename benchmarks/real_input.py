"""Results on data that this project did not make, where the command line does not reach. JSON lines.

    python benchmarks/real_input.py select DATA/lerobot-v21-unitree-g1 --out select.jsonl
        try policies on robot data; episodes that seeds 0, 1, 2 of `steadyhand train` hold out are left out
    python benchmarks/real_input.py last-command DATA/lerobot-v21-unitree-g1 --out last.jsonl
        train with the last command beside the state, seeds 0, 1, 2
    python benchmarks/real_input.py held-out RUN [RUN ...]
        error of `steadyhand train` runs for each predicted step, and its difference to trivial answers
    python benchmarks/real_input.py returns RUN [RUN ...]
        mean return over the seeds of several `steadyhand eval` or `correct` runs, and paired differences

Lines that are there already are not computed again.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.analysis.offline import OfflineError, offline_errors
from steadyhand.core.codec import from_data, load, read_json
from steadyhand.core.seeding import derive, generator
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.core.statistics import Estimate, bootstrap_mean, clustered_mean
from steadyhand.data.dataset import open_dataset
from steadyhand.data.frames import Frames
from steadyhand.data.stats import split_episodes
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

SEEDS = (0, 1, 2)
HELD_OUT = 0.1
LAST = "observation.last_command"
REPEAT = "repeat last command"
Settings = Mapping[str, Any]

BASE: Settings = {
    "horizon": 16,
    "n_action_steps": 8,
    "n_obs_steps": 16,
    "action_representation": "relative",
    "encoder": {"type": "StateMLP", "hidden": [256, 256]},
    "head": {"type": "Regression", "error": "l1"},
    "normalisation": {"action": "z_score"},
}
TRAINING: Settings = {"num_steps": 1000, "weight_decay": 1.0}
DEFAULT: Settings = {
    "n_obs_steps": 1,
    "action_representation": "absolute",
    "head": {"type": "Regression"},
    "normalisation": {},
}
CANDIDATES: dict[str, tuple[Settings, Settings]] = {
    "base": ({}, {}),
    "defaults of the library": (DEFAULT, {"weight_decay": 1e-6}),
    "1 observed step": ({"n_obs_steps": 1}, {}),
    "4 observed steps": ({"n_obs_steps": 4}, {}),
    "8 observed steps": ({"n_obs_steps": 8}, {}),
    "absolute actions": ({"action_representation": "absolute"}, {}),
    "delta actions": ({"action_representation": "delta"}, {}),
    "squared error": ({"head": {"type": "Regression"}}, {}),
    "actions scaled to their range": ({"normalisation": {}}, {}),
    "weight decay 1e-6": ({}, {"weight_decay": 1e-6}),
    "average of the weights": ({}, {"ema": {}}),
    "512 x 512": ({"encoder": {"type": "StateMLP", "hidden": [512, 512]}}, {}),
    "500 steps": ({}, {"num_steps": 500}),
    "3000 steps": ({}, {"num_steps": 3000}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("select", "last-command"):
        sub = verbs.add_parser(verb)
        sub.add_argument("data", type=Path)
        sub.add_argument("--out", type=Path, required=True)
    for verb in ("held-out", "returns"):
        verbs.add_parser(verb).add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    match arguments.verb:
        case "select":
            select(arguments.data, arguments.out)
        case "last-command":
            last_command(arguments.data, arguments.out)
        case "held-out":
            held_out(arguments.runs)
        case _:
            returns(arguments.runs)


def select(data: Path, out: Path) -> None:
    """Train each candidate on what no final table holds out, and score it on twelve further episodes."""
    frames = open_dataset(data).frames((STATE,))
    final = np.concatenate([split_episodes(frames.num_episodes, HELD_OUT, seed)[1] for seed in SEEDS])
    rest = np.setdiff1d(np.arange(frames.num_episodes), final)
    chosen = np.sort(generator(0, "selection").permutation(rest)[:12])
    kept = np.setdiff1d(rest, chosen)
    for name, (policy, training) in CANDIDATES.items():

        def work(policy: Settings = policy, training: Settings = training) -> Settings:
            trained = trained_policy(frames, frames.steps_of(kept), {**BASE, **policy}, training, seed=0)
            errors = offline_errors(trained, frames, frames.steps_of(chosen))
            return {
                "train_episodes": len(kept),
                "selection_episodes": len(chosen),
                "errors": table(errors),
            }

        once(out, {"name": name}, work)


def last_command(data: Path, out: Path) -> None:
    """Give the policy what "repeat the last command" knows: the command of the step before."""
    frames = with_last_command(open_dataset(data).frames((STATE,)))
    policy = {
        **BASE,
        "n_obs_steps": 1,
        "observation": [LAST, STATE],
        "action_representation": "delta",
        "state_feature": LAST,
    }
    for seed in SEEDS:

        def work(seed: int = seed) -> Settings:
            kept, held = split_episodes(frames.num_episodes, HELD_OUT, seed, branch=frames.branch)
            trained = trained_policy(frames, frames.steps_of(kept), policy, {}, seed=seed)
            return on_episodes(trained, frames, held)

        once(out, {"name": "last command and state", "seed": seed}, work)


def held_out(runs: Iterable[Path]) -> None:
    """Print the errors of finished runs on the episodes that they held out."""
    differences: dict[str, list[float]] = {}
    for folder in runs:
        run = load(folder / "run.json", TrainRun)
        policy = load_policy(folder / "policy")
        frames = open_dataset(run.data).frames(policy.features)
        held = split_episodes(frames.num_episodes, run.validation_fraction, run.seed, branch=frames.branch)[1]
        line = on_episodes(policy, frames, held)
        print(json.dumps({"run": folder.name, "seed": run.seed, **line}), flush=True)
        for name, values in line["by_episode"].items():
            mine = np.array(line["by_episode"]["policy"])
            differences.setdefault(name, []).extend(mine - np.array(values))
    for name, values in differences.items():
        if name != "policy":
            pooled = bootstrap_mean(np.array(values), seed=0)
            print(json.dumps({"difference": f"policy - {name}", **plain(pooled)}), flush=True)


def returns(runs: Iterable[Path]) -> None:
    """Print mean returns over runs that differ in their seed, and differences to the baseline."""
    found: dict[str, list[list[float]]] = {}
    for folder in runs:
        for number, result in enumerate(read_json(folder / "report.json")["results"]):
            name = result["name"] if result["kind"] == "expert" or number else "baseline"
            found.setdefault(name, []).append(result["returns"])
            interval = result["mean_return"]["interval"]
            line = {"run": folder.name, "name": result["name"], "mean_return": result["mean_return"]["value"]}
            print(json.dumps({**line, "low": interval["low"], "high": interval["high"]}), flush=True)
    for name, values in found.items():
        if len(values) > 1:
            print(json.dumps({"name": name, **plain(clustered_mean(np.array(values)))}), flush=True)
    if len(found.get("cloning", ())) > 1 and "DAgger" in found:
        difference = np.array(found["DAgger"]) - np.array(found["cloning"])
        pooled = clustered_mean(difference)
        share = 100 / float(np.mean(found["expert"]))
        line = {"difference": "DAgger - cloning", **plain(pooled)}
        assert pooled.interval is not None
        line["percent_of_expert"] = [pooled.value * share, pooled.interval.low * share]
        print(json.dumps(line), flush=True)


def trained_policy(
    frames: Frames, steps: np.ndarray, policy: Settings, training: Settings, *, seed: int
) -> PolicyModule:
    config = from_data({"observation": list(frames.observation_spec), **policy}, PolicyConfig)
    settings = from_data({**TRAINING, **training}, TrainConfig)
    built = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=derive(seed, "parameters"))
    source = WindowSource(frames, built.window, steps=steps, features=built.features)
    built.fit_statistics(frames, source.steps)
    fit(built, source, config=replace(settings, seed=derive(seed, "training") % 2**31))
    return built


def on_episodes(policy: PolicyModule, frames: Frames, episodes: np.ndarray) -> dict[str, Any]:
    """Return the errors over all of `episodes`, for each predicted step, and for each episode."""
    whole = offline_errors(policy, frames, frames.steps_of(episodes))
    each = [offline_errors(policy, frames, frames.steps_of(np.array([one]))) for one in episodes]
    names = [one.name for one in whole if one.name != "mean action"]
    by_episode = {name: [next(e.mean for e in errors if e.name == name) for errors in each] for name in names}
    return {"episodes": episodes.tolist(), "errors": table(whole), "by_episode": by_episode}


def with_last_command(frames: Frames) -> Frames:
    """Add the command of the step before as a feature; an episode begins with a command to stay."""
    last = np.roll(frames.action, 1, axis=0)
    last[frames.episode_starts] = frames.observation[STATE][frames.episode_starts]
    return replace(
        frames,
        observation={LAST: last, **frames.observation},
        observation_spec={LAST: FeatureSpec(shape=last.shape[1:]), **frames.observation_spec},
    )


def table(errors: Iterable[OfflineError]) -> dict[str, Any]:
    return {
        one.name: {"mean": round(one.mean, 5), "by_step": [round(value, 5) for value in one.by_step]}
        for one in errors
    }


def plain(estimate: Estimate) -> dict[str, Any]:
    interval = estimate.interval
    bounds = {} if interval is None else {"low": interval.low, "high": interval.high, "level": interval.level}
    return {"mean": estimate.value, **bounds, "count": estimate.count}


def once(out: Path, key: Settings, work: Callable[[], Settings]) -> None:
    """Append {**key, **work()} to `out`, unless a line with this key is there."""
    done = [json.loads(line) for line in out.read_text().splitlines()] if out.is_file() else []
    if any(key.items() <= line.items() for line in done):
        return
    line = json.dumps({**key, **work()})
    print(line, flush=True)
    with out.open("a") as file:
        file.write(line + "\n")


if __name__ == "__main__":
    main()
