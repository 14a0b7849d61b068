"""A training run to be killed: python killed_run.py <folder> <delay of each step in s> [checkpoint every]."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import fit

CONFIG = TrainConfig(
    num_steps=60,
    batch_size=5,
    ema=EmaConfig(),
    clip_norm=1.0,
    warmup_steps=5,
    checkpoint_every=7,
    validation_every=20,
    log_every=4,
    seed=3,
)
FRAMES = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)))


class SlowSource(WindowSource):
    """Leaves time to be killed in."""

    delay = 0.0

    def batch(self, steps: Int64[np.ndarray, " B"]) -> Batch:
        time.sleep(self.delay)
        return super().batch(steps)


def run(
    folder: Path, *, delay: float = 0.0, resume: bool = False, config: TrainConfig = CONFIG
) -> PolicyModule:
    policy = PolicyModule.build(PolicyConfig(head=Gaussian(), horizon=2), PolicySpec.of_frames(FRAMES))
    policy.fit_statistics(FRAMES)
    source = SlowSource(FRAMES, policy.window)
    source.delay = delay
    validation = WindowSource(FRAMES, policy.window, steps=np.arange(6))
    fit(policy, source, config=config, validation=validation, folder=folder, resume=resume)
    return policy


if __name__ == "__main__":
    every = int(sys.argv[3]) if len(sys.argv) > 3 else CONFIG.checkpoint_every
    run(Path(sys.argv[1]), delay=float(sys.argv[2]), config=replace(CONFIG, checkpoint_every=every))
