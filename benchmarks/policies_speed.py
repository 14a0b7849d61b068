"""Does a policy class cost more here than its arithmetic, and more than in the library it came from?

For each class (policy_cases.py), on random data and one core:

- train: gradient steps of `steadyhand.training.loop.fit` against the same step on one batch that is made
  once, and against the library that is known for the class, with its own loader, on the same core.
- predict: one `PolicyModule.predict_chunk`, for 1 and for 64 rows; of a policy that carries its state,
  one step.
- sample: for diffusion and flow, drawing a chunk against as many evaluations of the net as it takes.

Pairs are interleaved and their order alternates; CPU time is compared, since another process may hold the
core. Prints JSON lines; what is skipped is said on the error stream.

    python benchmarks/policies_speed.py
    python benchmarks/policies_speed.py --only flow --seconds 0.5 --pairs 3
    python benchmarks/policies_speed.py --peers FOLDER --peer-bench FOLDER

PEERS is a folder with a virtual environment for each library, PEER_BENCH one with scripts that measure them;
either may be given as an environment variable. Without them there are no lines about other libraries.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lines import report
from policy_cases import Case, Peer, cases
from torch import Tensor, nn

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.noise import GeneratorNoise, Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicySpec
from steadyhand.policies.threads import use_threads
from steadyhand.rollout.executors.memory import StepMemory
from steadyhand.training.compiling import CompiledNets
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit
from steadyhand.training.optim import adamw, set_learning_rate

ROWS = (1, 64)
SPREAD = 0.1
"""Runs of the same program differ by a tenth on a shared machine."""
Work = Callable[[int], None]
Pairs = list[tuple[float, float]]
"""(seconds of one, seconds of the other), measured in turn."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How long to measure, and where the other libraries are."""

    seconds: float
    pairs: int
    peers: Path | None
    peer_bench: Path | None
    peer_share: float
    compiled: bool


def make_frames(observed: Mapping[str, int], acted: int) -> Frames:
    """Return 100 random episodes of 200 steps."""
    rng = np.random.default_rng(0)
    episodes = [
        demonstration(
            {name: rng.standard_normal((200, width), dtype=np.float32) for name, width in observed.items()},
            rng.uniform(-1, 1, (200, acted)).astype(np.float32),
            control_dt=0.1,
        )
        for _ in range(100)
    ]
    spec = {name: FeatureSpec(shape=(width,)) for name, width in observed.items()}
    return Frames.from_episodes(episodes, observation_spec=spec, action_spec=FeatureSpec(shape=(acted,)))


def fitting(policy: PolicyModule, source: WindowSource, training: TrainConfig) -> Work:
    def run(num_steps: int) -> None:
        fit(policy, source, config=replace(training, num_steps=num_steps))

    return run


def fixed(policy: PolicyModule, source: WindowSource, training: TrainConfig) -> Work:
    """Return gradient steps on one batch: what remains is the arithmetic."""
    batch, noise = source.batch(source.steps[: training.batch_size]), GeneratorNoise.seeded(0)
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]

    def run(num_steps: int) -> None:
        policy.train()
        optimizer = adamw(policy, training)
        for step in range(num_steps):
            loss = policy.loss_rows(batch, noise).mean()
            optimizer.zero_grad()
            loss.backward()
            if training.clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, training.clip_norm)
            set_learning_rate(optimizer, training, step)
            optimizer.step()

    return run


def repeated(call: Callable[[], object]) -> Work:
    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def cpu_seconds(work: Work, times: int) -> float:
    """Return the CPU time of one of `times` repetitions."""
    began = time.process_time()
    work(times)
    return (time.process_time() - began) / times


def wall_seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def pairs_of(one: Work, other: Work, settings: Settings) -> Pairs:
    """Measure two works in turn, as often as asked for."""
    for work in (one, other):
        work(2)
    times = max(1, round(settings.seconds / max(cpu_seconds(one, 1), 1e-6)))
    found: Pairs = []
    for pair in range(settings.pairs):
        works = (one, other) if pair % 2 == 0 else (other, one)
        first, second = (cpu_seconds(work, times) for work in works)
        found.append((first, second) if pair % 2 == 0 else (second, first))
    return found


def report_rates(name: str, pairs: Pairs, *, floor_is: str, target: str, **more: Any) -> None:
    """Print steps a second of the first of each pair beside those of the second."""
    report(
        name,
        value=1.0 / statistics.median(one for one, _ in pairs),
        unit="steps / CPU s",
        floor=1.0 / statistics.median(other for _, other in pairs),
        floor_is=floor_is,
        ratio=statistics.median(other / one for one, other in pairs),
        target=target,
        pairs=len(pairs),
        **more,
    )


def report_times(
    name: str, pairs: list[tuple[float, float]], *, floor_is: str, target: str, **more: Any
) -> None:
    """Print milliseconds of the first of each pair beside those of the second."""
    report(
        name,
        value=1e3 * statistics.median(one for one, _ in pairs),
        unit="ms",
        floor=1e3 * statistics.median(other for _, other in pairs),
        floor_is=floor_is,
        ratio=statistics.median(one / other for one, other in pairs),
        target=target,
        pairs=len(pairs),
        **more,
    )


def measure(case: Case, settings: Settings) -> None:
    """Print the lines of a case."""
    frames = make_frames(case.observed, case.acted)
    policy = PolicyModule.build(case.make(), PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    source = WindowSource(frames, policy.window)
    training = replace(case.training, batch_size=case.batch)
    size = {"batch": case.batch, "parameters": sum(p.numel() for p in policy.parameters())}
    ours = fitting(policy, source, training)
    pairs = pairs_of(ours, fixed(policy, source, training), settings)
    report_rates(
        f"train {case.name}", pairs, floor_is="the same step on one batch", target="ratio >= 0.93", **size
    )
    if case.compiled and settings.compiled:
        compiled = pairs_of(fitting(policy, source, replace(training, compile=True)), ours, settings)
        report_rates(f"train {case.name}, compiled", compiled, floor_is="not compiled", target="", **size)
    policy.eval()
    wall_s = {rows: measure_prediction(case, policy, rows, settings) for rows in ROWS}[1]
    if hasattr(policy.head, "net") and policy.head.inpaints:
        for rows in ROWS:
            measure_sampling(case, policy, rows, settings)
    for peer in case.peers:
        if (found := run_peer(peer, settings)) is not None:
            after = pairs_of(ours, ours, replace(settings, pairs=max(1, settings.pairs // 2)))
            both = [one for one, _ in pairs] + [seconds for pair in after for seconds in pair]
            report_peer(case, peer, found, rate=1.0 / statistics.median(both), wall_s=wall_s, **size)


def window_of(policy: PolicyModule, rows: int) -> dict[str, Tensor]:
    return {
        name: torch.zeros(rows, policy.config.n_obs_steps, *spec.shape)
        for name, spec in policy.spec.observation.items()
    }


def measure_prediction(case: Case, policy: PolicyModule, rows: int, settings: Settings) -> float:
    """Print the CPU time of one prediction and return its wall time [s]; compiled too, where asked for."""
    window, noise = window_of(policy, rows), GeneratorNoise.seeded(0)
    drawn = noise if policy.head.draws else None

    def predict() -> Tensor:
        return policy.predict_chunk(window, noise=drawn)

    if StepMemory.fits(policy):
        predict = carrying(policy, rows, drawn)
    name = f"predict {case.name}, {rows} row{'s' * (rows > 1)}"
    plain = repeated(predict)
    plain(3)
    times = max(1, round(settings.seconds / max(cpu_seconds(plain, 1), 1e-6)))
    value = statistics.median(cpu_seconds(plain, times) for _ in range(settings.pairs))
    report(name, value=1e3 * value, unit="ms", rows=rows, pairs=settings.pairs)
    if case.compiled and settings.compiled:
        nets = CompiledNets(policy)
        pairs = pairs_of(repeated(lambda: nets.run(predict)), plain, settings)
        report_times(f"{name}, compiled", pairs, floor_is="not compiled", target="", rows=rows)
    return statistics.median(wall_seconds(predict) for _ in range(min(times, 200)))


def carrying(policy: PolicyModule, rows: int, noise: Noise | None) -> Callable[[], Tensor]:
    """Return what a step of driving costs a policy whose state is carried along: encode it, and predict."""
    memory, every = StepMemory(policy, rows), np.arange(rows)
    observation = {
        name: np.zeros((rows, *spec.shape), dtype=spec.dtype)
        for name, spec in policy.spec.observation.items()
    }

    def predict() -> Tensor:
        memory.add(observation, every)
        return memory.predict(observation, every, every, noise=noise)

    return predict


@torch.no_grad()
def measure_sampling(case: Case, policy: PolicyModule, rows: int, settings: Settings) -> None:
    """Print the time of drawing a chunk beside that of its evaluations of the net."""
    window, noise, head = window_of(policy, rows), GeneratorNoise.seeded(0), policy.head
    context = policy.encode(window, torch.zeros(rows, policy.config.n_obs_steps, dtype=torch.bool), None)
    net: Any = head.get_submodule("net")
    condition = net.condition(context)
    embedding = net.embed_times(torch.tensor([50.0]))
    x = noise.normal(rows, head.chunk.horizon, head.chunk.action_dim)
    evaluations = 0

    def count(*_: object) -> None:
        nonlocal evaluations
        evaluations += 1

    handle = net.register_forward_hook(count)
    head.sample(context, noise)
    handle.remove()

    def evaluate() -> None:
        for _ in range(evaluations):
            net(x, embedding, condition)

    pairs = pairs_of(repeated(lambda: head.sample(context, noise)), repeated(evaluate), settings)
    report_times(
        f"sample {case.name}, {rows} row{'s' * (rows > 1)}",
        pairs,
        floor_is=f"{evaluations} evaluations of the net",
        target="ratio <= 1.1",
        rows=rows,
    )


def report_peer(
    case: Case, peer: Peer, found: dict[str, Any], *, rate: float, wall_s: float, **size: int
) -> None:
    """Print our rate (of before and after) and our time beside those of another library."""
    has_loader = "--fixed-batch" not in peer.arguments
    data = sum(share for name, share in found["shares"].items() if "data" in name.lower()) * has_loader
    version = found["versions"][peer.name]
    more = {**size, "peer_parameters": found["params"], "peer_data_share": round(data, 3)}
    report(
        f"train {case.name}",
        value=rate,
        unit="steps / CPU s",
        floor=found["steps_per_cpu_s"],
        floor_is=f"{peer.name} {version}" + ("" if has_loader else ", one batch kept"),
        target=f"ratio >= {1.0 if data >= SPREAD else 1.0 - SPREAD}",
        **more,
    )
    if not has_loader:
        return
    if found["steps_per_s"] < (1.0 - SPREAD) * found["steps_per_cpu_s"]:
        skipped(f"{case.name}: the core was busy, and {peer.name} gives only wall times of predictions")
        return
    report(
        f"predict {case.name}, 1 row",
        value=1e3 * wall_s,
        unit="ms of wall time",
        floor=found["infer_ms_median"],
        floor_is=f"{peer.name} {version}",
        target=f"ratio <= {1.0 + SPREAD}",
        rows=1,
    )


def run_peer(peer: Peer, settings: Settings) -> dict[str, Any] | None:
    """Run a peer's script on this core, and return what it printed; None, and a word why, if it cannot."""
    if settings.peers is None or settings.peer_bench is None:
        return skipped(f"{peer.name}: PEERS or PEER_BENCH is not set")
    python = settings.peers / peer.name / "bin" / "python"
    script = settings.peer_bench / peer.script
    if missing := [path for path in (python, script) if not path.exists()]:
        return skipped(f"{peer.name}: there is no {missing[0]}")
    steps = max(peer.least, round(peer.steps * settings.peer_share))
    command = [str(python), str(script), *peer.arguments, "--steps", str(steps), "--warmup", "2"]
    with tempfile.TemporaryDirectory() as folder:
        own = {"TMPDIR": folder, "HF_HOME": folder, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **own, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            cwd=folder,
        )
    printed = done.stdout.splitlines()
    if done.returncode or not printed:
        return skipped(f"{peer.name}: {' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    return json.loads(printed[-1])


def skipped(why: str) -> None:
    print(f"skipped: {why}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="CPU time of each measurement")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--core", type=int, help="pin to this core; the first one allowed if not given")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too: minutes more")
    parser.add_argument("--peers", type=Path, default=os.environ.get("PEERS"))
    parser.add_argument("--peer-bench", type=Path, default=os.environ.get("PEER_BENCH"))
    parser.add_argument("--peer-share", type=float, default=1.0, help="share of the peers' usual steps")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        allowed = min(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed if arguments.core is None else arguments.core})
    settings = Settings(
        seconds=arguments.seconds,
        pairs=arguments.pairs,
        peers=arguments.peers,
        peer_bench=arguments.peer_bench,
        peer_share=arguments.peer_share,
        compiled=arguments.compile,
    )
    with use_threads(1):
        for case in cases():
            if arguments.only.lower() in case.name.lower():
                try:
                    measure(case, settings)
                except ImportError as error:
                    skipped(f"{case.name}: {error}")


if __name__ == "__main__":
    main()
