"""Maximum likelihood reaches the entropy of the data, for densities that lie inside the policy class.

The held-out -log p of a policy is the entropy of the demonstrator plus how far the two are apart (KL). Each
density here has an entropy in closed form or by quadrature; everything is in raw units, so that the change of
variables of the normaliser is tested too.
"""

import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.frames import Frames
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.bins import Bins
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.heads.mixture import Mixture
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

ROWS = 8000
TOLERANCE = 0.05
"""Nats for each number of the chunk."""
HALF_LOG_TWO_PI_E = 0.5 * math.log(2 * math.pi * math.e)


def states(seed: int) -> np.ndarray:
    """Return ROWS states, uniform in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, ROWS)


def frames(state: np.ndarray, chunks: np.ndarray) -> Frames:
    """Return one long episode of chunks (N, H, A) after each other, each with its state throughout."""
    num_rows, horizon, action_dim = chunks.shape
    observed = np.repeat(state, horizon)[:, None].astype(np.float32)
    actions = chunks.reshape(num_rows * horizon, action_dim).astype(np.float32)
    episodes = [demonstration({STATE: observed}, actions, control_dt=0.1)]
    return Frames.from_episodes(
        episodes,
        observation_spec={STATE: FeatureSpec(shape=(1,))},
        action_spec=FeatureSpec(shape=chunks.shape[2:]),
    )


def held_out_nll(
    head: HeadConfig,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    *,
    num_steps: int = 500,
) -> float:
    """Return -log p for each number of the chunk [nat], after training on other draws."""
    horizon, action_dim = test[1].shape[1:]
    data, held_out = frames(*train), frames(*test)
    config = PolicyConfig(encoder=StateMLP(hidden=(32, 32)), head=head, horizon=horizon)
    policy = PolicyModule.build(config, PolicySpec.of_frames(data))
    starts = np.arange(0, ROWS * horizon, horizon)
    policy.fit_statistics(data)
    source = WindowSource(data, policy.window, steps=starts)
    fit(policy, source, config=TrainConfig(num_steps=num_steps, batch_size=256, learning_rate=3e-3))
    batch = WindowSource(held_out, policy.window).batch(starts)
    return -policy.log_prob(batch).mean().item() / (horizon * action_dim)


def line(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One Gaussian number, mean 5 s, std 0.7."""
    state = states(seed)
    return state, (5 * state + 0.7 * np.random.default_rng(seed + 1).standard_normal(ROWS))[:, None, None]


def spread(state: np.ndarray) -> np.ndarray:
    """Return two standard deviations that depend on the state, (N, 2)."""
    return np.stack([0.2 + 0.8 * special.expit(3 * state), 0.3 * np.exp(-state)], -1)


def fan(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussian numbers whose spread depends on the state."""
    state = states(seed)
    noise = spread(state) * np.random.default_rng(seed + 1).standard_normal((ROWS, 2))
    return state, (np.stack([np.sin(2 * state), state**2], -1) + noise)[:, None]


def test_gaussian() -> None:
    nll = held_out_nll(Gaussian(std="global"), line(0), line(10))
    assert nll == pytest.approx(HALF_LOG_TWO_PI_E + math.log(0.7), abs=TOLERANCE)


def test_gaussian_in_two_dimensions_whose_spread_depends_on_the_state() -> None:
    nll = held_out_nll(Gaussian(), fan(0), fan(10))
    grid = np.linspace(-1, 1, 10_001)
    entropy = HALF_LOG_TWO_PI_E + np.log(spread(grid)).mean()
    assert nll == pytest.approx(entropy, abs=TOLERANCE)
    constant = held_out_nll(Gaussian(std="global"), fan(0), fan(10))
    assert constant > entropy + TOLERANCE, "one spread for all states is outside the class"


SHARE, STD = 0.3, 0.15


def bumps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One number near s - 1 (30 %) or s + 0.2 (70 %): two bumps that overlap a little."""
    rng, state = np.random.default_rng(seed + 1), states(seed)
    mean = state + np.where(rng.random(ROWS) < SHARE, -0.5, 0.2)
    return state, (mean + STD * rng.standard_normal(ROWS))[:, None, None]


def test_mixture_with_two_bumps() -> None:
    def integrand(x: float) -> float:
        p = SHARE * stats.norm.pdf(x, -0.5, STD) + (1 - SHARE) * stats.norm.pdf(x, 0.2, STD)
        return float(special.entr(p))

    entropy = integrate.quad(integrand, -2, 2)[0]
    assert held_out_nll(Mixture(num_modes=4), bumps(0), bumps(10)) == pytest.approx(entropy, abs=TOLERANCE)
    single = held_out_nll(Gaussian(), bumps(0), bumps(10))
    variance = STD**2 + SHARE * (1 - SHARE) * 0.7**2
    assert single == pytest.approx(HALF_LOG_TWO_PI_E + 0.5 * math.log(variance), abs=TOLERANCE)
    assert single > entropy + 3 * TOLERANCE, "one bump is outside the class"


def ways(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Chunks of four steps that all go left (30 %) or all go right."""
    rng, state = np.random.default_rng(seed + 1), states(seed)
    side = np.where(rng.random(ROWS) < SHARE, -1.0, 1.0)
    return state, (side[:, None] + 0.1 * rng.standard_normal((ROWS, 4)))[..., None]


def test_joint_mixture_over_a_chunk() -> None:
    """Modes 20 std apart: entropy = that of the choice, once for the chunk, plus that of four Gaussians."""
    choice = float(special.entr([SHARE, 1 - SHARE]).sum())
    step = HALF_LOG_TWO_PI_E + math.log(0.1)
    joint = held_out_nll(Mixture(num_modes=2), ways(0), ways(10))
    assert joint == pytest.approx(step + choice / 4, abs=TOLERANCE)
    alone = held_out_nll(Mixture(num_modes=2, joint=False), ways(0), ways(10))
    assert alone == pytest.approx(step + choice, abs=TOLERANCE), "step by step the choice is paid four times"


def test_bins_with_a_beta_density() -> None:
    def beta(seed: int) -> tuple[np.ndarray, np.ndarray]:
        return states(seed), 3 * np.random.default_rng(seed + 1).beta(2, 5, (ROWS, 1, 1))

    nll = held_out_nll(Bins(num_bins=32), beta(0), beta(10))
    assert nll == pytest.approx(stats.beta(2, 5, scale=3).entropy(), abs=TOLERANCE)


TABLE = special.softmax(np.random.default_rng(0).normal(0, 2, (6, 6)))
"""Joint probabilities of two numbers, each in one of six equal intervals of [0, 6]."""


def cells(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers, uniform inside the cell that the table draws."""
    rng = np.random.default_rng(seed + 1)
    cell = np.stack(np.unravel_index(rng.choice(36, ROWS, p=TABLE.ravel()), (6, 6)), -1)
    return states(seed), (cell + rng.random((ROWS, 2)))[:, None]


def test_bins_with_a_density_that_is_constant_in_each() -> None:
    """One after another they reach the joint entropy; on their own that plus the mutual information."""
    joint = special.entr(TABLE).sum()
    apart = special.entr(TABLE.sum(0)).sum() + special.entr(TABLE.sum(1)).sum()
    assert apart - joint > 4 * TOLERANCE
    chain = held_out_nll(Bins(num_bins=6, width=32), cells(0), cells(10))
    assert chain == pytest.approx(joint / 2, abs=TOLERANCE)
    alone = held_out_nll(Bins(num_bins=6, dependence="independent"), cells(0), cells(10))
    assert alone == pytest.approx(apart / 2, abs=TOLERANCE)
