"""Twenty training steps whose numbers may change only on purpose.

Data and first weights are sines of their index, so that no random generator is part of the fixture. When a
change is meant to alter numbers, rewrite the curve and say so in the change log, with the difference:

    python tests/golden/test_training_curve.py
"""

import json
from pathlib import Path

import pytest
import torch

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames
from steadyhand.training.config import EmaConfig, TrainConfig
from steadyhand.training.loop import fit

CURVES = Path(__file__).parent / "training_curve.json"
HEADS: dict[str, HeadConfig] = {"regression": Regression(), "gaussian": Gaussian()}


def curve(head: HeadConfig) -> list[float]:
    frames = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)))
    config = PolicyConfig(encoder=StateMLP(hidden=(16,)), head=head, n_obs_steps=2, horizon=3)
    policy = PolicyModule.build(config, PolicySpec.of_frames(frames))
    policy.fit_statistics(frames)
    with torch.no_grad():
        for parameter in policy.parameters():
            values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64))
            parameter.copy_(0.3 * values.view(parameter.shape))
    training = TrainConfig(
        num_steps=20,
        batch_size=8,
        learning_rate=0.03,
        warmup_steps=4,
        ema=EmaConfig(),
        clip_norm=1.0,
        log_every=1,
    )
    result = fit(policy, WindowSource(frames, policy.window), config=training)
    return [line["loss"] for line in result.history]


@pytest.mark.parametrize("name", HEADS)
def test_the_curve_is_the_stored_one(name: str) -> None:
    stored = json.loads(CURVES.read_text())[name]
    assert len(stored) == 20
    assert stored[-1] < stored[0]
    assert curve(HEADS[name]) == pytest.approx(stored, rel=1e-4)


if __name__ == "__main__":
    curves = {name: curve(head) for name, head in HEADS.items()}
    CURVES.write_text(json.dumps(curves, indent=1) + "\n")
