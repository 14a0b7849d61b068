"""Does a training step cost more than its arithmetic?

One gradient step of `steadyhand.training.loop.fit` (sampler, gather, noise, schedule, logging) against

- fixed: the same policy, optimiser, average and clipping on one batch that is made once (the floor),
- plain: a hand-written loop on normalised tensors, as a careful user would write it without the library.

MLP 256 x 256, observation 17, action 6, 100k transitions, batch 256, one thread. Pairs are interleaved and
their order alternates; CPU time is compared, since another process may hold the core. Prints JSON lines.

    python benchmarks/training_step.py --steps 300 --pairs 9
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from lines import report
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.policies.threads import use_threads
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import fit
from steadyhand.training.optim import Ema, adamw, learning_rate

NUM_EPISODES, EPISODE_LENGTH, OBSERVED, ACTED, BATCH = 100, 1000, 17, 6, 256
Work = Callable[[int], None]
FLOORS = {"fixed": "the same step on one batch", "plain": "a hand-written loop"}


def make_frames() -> Frames:
    rng = np.random.default_rng(0)
    episodes = [
        demonstration(
            {STATE: rng.standard_normal((EPISODE_LENGTH, OBSERVED), dtype=np.float32)},
            rng.uniform(-1, 1, (EPISODE_LENGTH, ACTED)).astype(np.float32),
            control_dt=0.1,
        )
        for _ in range(NUM_EPISODES)
    ]
    spec = {STATE: FeatureSpec(shape=(OBSERVED,))}
    return Frames.from_episodes(episodes, observation_spec=spec, action_spec=FeatureSpec(shape=(ACTED,)))


def new_policy(frames: Frames) -> PolicyModule:
    policy = PolicyModule.build(PolicyConfig(), PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    return policy


def ours(frames: Frames, base: TrainConfig) -> Work:
    policy = new_policy(frames)
    source = WindowSource(frames, policy.window)

    def run(num_steps: int) -> None:
        fit(policy, source, config=TrainConfig(num_steps=num_steps, ema=base.ema, clip_norm=base.clip_norm))

    return run


def fixed(frames: Frames, base: TrainConfig) -> Work:
    policy = new_policy(frames)
    batch = WindowSource(frames, policy.window).batch(np.arange(BATCH))
    noise = GeneratorNoise.seeded(0)

    def run(num_steps: int) -> None:
        optimizer = adamw(policy, base)
        ema = None if base.ema is None else Ema(policy, base.ema)
        for step in range(num_steps):
            loss = policy.loss_rows(batch, noise).mean()
            optimizer.zero_grad()
            loss.backward()
            if base.clip_norm is not None:
                nn.utils.clip_grad_norm_(policy.parameters(), base.clip_norm)
            optimizer.param_groups[0]["lr"] = learning_rate(base, step)
            optimizer.step()
            if ema is not None:
                ema.update(step)

    return run


def plain(frames: Frames, base: TrainConfig) -> Work:
    observed = torch.from_numpy((frames.observation[STATE] - 0.0) / 1.0)
    acted = torch.from_numpy(frames.expert_action.copy())
    layers = (nn.Linear(OBSERVED, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, ACTED))
    net = nn.Sequential(*layers)
    parameters = list(net.parameters())
    order = torch.randperm(len(observed), generator=torch.Generator().manual_seed(0))

    def run(num_steps: int) -> None:
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
        average = [parameter.detach().clone() for parameter in parameters]
        for step in range(num_steps):
            first = step * BATCH % (len(order) - BATCH)
            index = order[first : first + BATCH]
            error = net(observed.index_select(0, index)) - acted.index_select(0, index)
            optimizer.zero_grad()
            error.square().mean().backward()
            if base.clip_norm is not None:
                nn.utils.clip_grad_norm_(parameters, base.clip_norm)
            optimizer.step()
            if base.ema is not None:
                get_ema_multi_avg_fn(base.ema.decay(step))(average, [p.detach() for p in parameters], None)

    return run


def cpu_seconds(work: Work, num_steps: int) -> float:
    began = time.process_time()
    work(num_steps)
    return time.process_time() - began


def compare(name: str, base: TrainConfig, frames: Frames, *, num_steps: int, num_pairs: int) -> None:
    works = {"fit": ours(frames, base), "fixed": fixed(frames, base), "plain": plain(frames, base)}
    for work in works.values():
        work(30)
    rows: list[dict[str, float]] = []
    for pair in range(num_pairs):
        names = list(works) if pair % 2 == 0 else list(works)[::-1]
        rows.append({kind: num_steps / cpu_seconds(works[kind], num_steps) for kind in names})
    for floor in ("fixed", "plain"):
        report(
            f"training step, {name}",
            value=statistics.median(row["fit"] for row in rows),
            unit="steps / CPU s",
            floor=statistics.median(row[floor] for row in rows),
            floor_is=FLOORS[floor],
            ratio=statistics.median(row["fit"] / row[floor] for row in rows),
            target="ratio >= 0.93" if floor == "fixed" else "",
            pairs=num_pairs,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=9)
    arguments = parser.parse_args()
    frames = make_frames()
    settings = {"plain AdamW": TrainConfig(), "EMA and clipping": TrainConfig(ema=EmaConfig(), clip_norm=1.0)}
    with use_threads(1):
        for name, base in settings.items():
            compare(name, base, frames, num_steps=arguments.steps, num_pairs=arguments.pairs)


if __name__ == "__main__":
    main()
