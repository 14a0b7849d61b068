"""How long does DAgger take here, and how long in the `imitation` library, on the same tasks in one run?

CartPole-v1 and Pendulum-v1, scripted experts that both sides share (dagger_experts.py), 8 copies of the env,
about 20 000 labelled steps. The other library runs with its defaults: beta falls linearly over 15 rounds, a
2 x 32 network is trained on for 4 epochs of everything collected, and returns are rolled out for its log.

- equal gradient steps: as many rounds, labels and gradient steps, the same network, batch and schedule of
  beta here, and squared error where it maximises the likelihood of a Gaussian with one learnt deviation; the
  time of all rounds. Here a round also validates, and keeps its episodes and its policy.
- without its log's roll-outs: the same with `log_rollouts_venv=None` there.
- time to return: until the first round after which the policy's mean return over 20 test starts is 475
  (CartPole-v1) or -150 (Pendulum-v1), each library with settings of its own: `QUICK` was chosen by hand on
  training seeds from 10 on. Median over seeds. Evaluations on the test starts are off the clock, and both
  libraries have the same. On Pendulum-v1 a return is mostly the luck of the starts, of which the expert
  itself makes -150 on average: taken are the first 20 on which it makes -125 or more.

Wall time, medians over seeds, on one core, both sides in turn; a run pays neither for imports nor for the
first optimiser that torch makes. Prints JSON lines; what is skipped is said on the error stream.

    python benchmarks/dagger_peers.py --peers FOLDER

PEERS is a folder with a virtual environment named imitation; it may be given as an environment variable.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch
from dagger_experts import EXPERTS
from lines import report

from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.mixture import LinearDecay
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.network import CallableExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig
from steadyhand.policies.threads import use_threads
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

HERE = Path(__file__).parent
STARTS = 20
"""Test starts on which a return is judged."""
GOAL = {"CartPole-v1": 475.0, "Pendulum-v1": -150.0}
EXPERT_MAKES = {"CartPole-v1": 500.0, "Pendulum-v1": -125.0}
"""The expert's mean return on the test starts is at least this."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How DAgger is run here."""

    policy: PolicyConfig
    training: TrainConfig
    dagger: DaggerConfig


QUICK = {
    "CartPole-v1": Setting(
        policy=PolicyConfig(encoder=StateMLP(hidden=(32, 32)), head=Categorical()),
        training=TrainConfig(num_steps=150, batch_size=128, learning_rate=1e-2, weight_decay=0.0),
        dagger=DaggerConfig(rounds=10, labels_per_round=400, episodes_per_round=8, validation_starts=4),
    ),
    "Pendulum-v1": Setting(
        policy=PolicyConfig(encoder=StateMLP(hidden=(64, 64)), head=Regression()),
        training=TrainConfig(num_steps=500, batch_size=128, learning_rate=5e-3, weight_decay=0.0),
        dagger=DaggerConfig(rounds=20, labels_per_round=1600, episodes_per_round=8, validation_starts=8),
    ),
}


def like_theirs(env_id: str, *, rounds: int, labels: int, updates: int) -> Setting:
    """Return what the other library does by default, in our words."""
    head = Categorical() if env_id == "CartPole-v1" else Regression()
    return Setting(
        policy=PolicyConfig(encoder=StateMLP(hidden=(32, 32), activation="tanh"), head=head),
        training=TrainConfig(
            num_steps=round(updates / rounds), batch_size=32, weight_decay=0.0, schedule="constant"
        ),
        dagger=DaggerConfig(
            rounds=rounds,
            labels_per_round=round(labels / rounds),
            episodes_per_round=8,
            beta=LinearDecay(rounds=15),
            training="fine_tune",
            validation_starts=8,
        ),
    )


class _ReachedError(Exception):
    """The goal is reached: no further round is wanted."""


def test_starts(env_id: str) -> tuple[Start, ...]:
    """Return the first test starts on which the expert does well."""
    env = GymnasiumConfig(env_id=env_id).build(STARTS)
    expert = CallableExpert(EXPERTS[env_id], action=env.spec.action)
    for seed in count():
        starts = env.starts("test", STARTS, seed=seed)
        if evaluate(env, expert, starts, name="expert").returns.mean() >= EXPERT_MAKES[env_id]:
            return starts
    raise AssertionError


def ours(
    env_id: str, setting: Setting, *, seed: int, goal: float | None = None, starts: Sequence[Start] = ()
) -> dict[str, Any]:
    """Run DAgger and return its times [s] and, if there is a goal, its mean returns after each round."""
    returns: list[float] = []
    off = [0.0, 0.0]

    def judge(*_: object) -> None:
        before = time.perf_counter(), time.process_time()
        if goal is not None:
            controller = learner.controller(
                Path(folder) / f"round-{len(returns) + 1:02d}", num_rows=env.num_rows
            )
            returns.append(float(evaluate(env, controller, starts, name="").returns.mean()))
        off[0] += time.perf_counter() - before[0]
        off[1] += time.process_time() - before[1]
        if goal is not None and returns[-1] >= goal:
            raise _ReachedError

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter(), time.process_time()
        env: BatchEnv = GymnasiumConfig(env_id=env_id).build(8)
        expert = CallableExpert(EXPERTS[env_id], action=env.spec.action)
        learner = PolicyLearner(env.spec, policy=setting.policy, training=setting.training)
        run = partial(
            teach_in_rounds, env, expert, learner, config=setting.dagger, folder=Path(folder), seed=seed
        )
        reached = False
        try:
            run(on_round=judge)
        except _ReachedError:
            reached = True
        wall, cpu = (
            now - start for now, start in zip((time.perf_counter(), time.process_time()), began, strict=True)
        )
    return {"wall_s": wall - off[0], "cpu_s": cpu - off[1], "returns": returns, "reached": reached}


def theirs(arguments: argparse.Namespace, env_id: str, *extra: str) -> dict[str, Any] | None:
    """Run the other library and return its rounds; None, and a word why, if it cannot."""
    python = arguments.peers / "imitation" / "bin" / "python" if arguments.peers else None
    if python is None or not python.exists():
        print(f"skipped: {python or 'PEERS is not set'}", file=sys.stderr, flush=True)
        return None
    command = [str(python), str(HERE / "dagger_imitation.py"), "--env", env_id, *extra]
    with tempfile.TemporaryDirectory() as folder:
        own = {"TMPDIR": folder, "HF_HOME": folder, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **own, **threads}
        )
    if done.returncode:
        print(
            f"skipped: {' '.join(command)} failed: {done.stderr.strip()[-300:]}", file=sys.stderr, flush=True
        )
        return None
    return json.loads(done.stdout.splitlines()[-1])


def equal_steps(arguments: argparse.Namespace, env_id: str) -> None:
    """Print the lines of equal gradient steps."""
    quiet = ("--no-log-rollouts",)
    for extra, words in (((), ""), (quiet, " without its log's roll-outs")):
        mine: list[dict[str, Any]] = []
        other: list[dict[str, Any]] = []
        for seed in range(arguments.seeds):  # in turn: a neighbour's load then falls on both
            found = theirs(arguments, env_id, *extra, "--seed", str(seed))
            if found is None:
                return
            rounds, last = len(found["rounds"]), found["rounds"][-1]
            setting = like_theirs(env_id, rounds=rounds, labels=last["steps"], updates=last["updates"])
            other.append({**last, "version": found["version"], "rounds": rounds})
            mine.append(ours(env_id, setting, seed=seed))
        value, floor = (statistics.median(run["wall_s"] for run in runs) for runs in (mine, other))
        cpu, their_cpu = (statistics.median(run["cpu_s"] for run in runs) for runs in (mine, other))
        report(
            f"DAgger on {env_id}, equal gradient steps",
            value=value,
            unit="s",
            floor=floor,
            floor_is=f"imitation {other[0]['version']}{words}",
            target="" if extra else "ratio <= 0.25",
            cpu_ratio=round(cpu / their_cpu, 3),
            seeds=arguments.seeds,
            wall_s=[round(run["wall_s"], 2) for run in mine],
            their_wall_s=[round(run["wall_s"], 2) for run in other],
            rounds=[run["rounds"] for run in other],
            labels=[run["steps"] for run in other],
            updates=[run["updates"] for run in other],
        )


def to_return(arguments: argparse.Namespace, env_id: str) -> None:
    """Print the line of the time to a return."""
    goal = GOAL[env_id]
    mine: list[dict[str, Any]] = []
    other: list[dict[str, Any]] = []
    starts = test_starts(env_id)
    judged = ("--until", str(goal), "--starts", *(str(start.seed) for start in starts))
    for seed in range(arguments.seeds):
        found = theirs(arguments, env_id, *judged, "--seed", str(seed))
        if found is None:
            return
        other.append({**found["rounds"][-1], "version": found["version"]})
        mine.append(ours(env_id, QUICK[env_id], seed=seed, goal=goal, starts=starts))
    value, cpu = (statistics.median(run[key] for run in mine) for key in ("wall_s", "cpu_s"))
    floor, their_cpu = (statistics.median(run[key] for run in other) for key in ("wall_s", "cpu_s"))
    report(
        f"DAgger on {env_id}, time to return {goal:g}",
        value=value,
        unit="s",
        floor=floor,
        floor_is=f"imitation {other[0]['version']}",
        target="ratio <= 0.1",
        cpu_ratio=round(cpu / their_cpu, 3),
        seeds=arguments.seeds,
        reached=sum(run["reached"] for run in mine),
        they_reached=sum(run["mean_return"] >= goal for run in other),
        rounds=[len(run["returns"]) for run in mine],
        wall_s=[round(run["wall_s"], 2) for run in mine],
        their_wall_s=[round(run["wall_s"], 2) for run in other],
        labels=[len(run["returns"]) * QUICK[env_id].dagger.labels_per_round for run in mine],
        their_labels=[run["steps"] for run in other],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env", choices=EXPERTS, help="one of the tasks; both if not given")
    parser.add_argument("--only", choices=("equal", "return"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--core", type=int, help="pin to this core; the first one allowed if not given")
    parser.add_argument("--peers", type=Path, default=os.environ.get("PEERS"))
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        allowed = min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed if arguments.core is None else arguments.core})
    with use_threads(1):
        torch.optim.AdamW(
            [torch.zeros(1, requires_grad=True)], fused=True
        )  # what torch imports for its first
        for env_id in [arguments.env] if arguments.env else EXPERTS:
            if arguments.only != "return":
                equal_steps(arguments, env_id)
            if arguments.only != "equal":
                to_return(arguments, env_id)


if __name__ == "__main__":
    main()
