"""Noise on the executed action: its law, its memory, and what is refused."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec, discrete_spec
from steadyhand.correction.dart_noise import second_moment
from steadyhand.correction.noise import CorrelatedNoise, GaussianNoise, NoisyExecution, RandomExecution

COVARIANCE = ((0.04, -0.018), (-0.018, 0.01))


def streams(count: int) -> RowStreams:
    return RowStreams.from_seed(3, count)


class Fixed(Controller):
    def __init__(self, action) -> None:
        self.value = np.array(action)

    def act(self, observation, privileged, rows, generator):
        action = np.tile(self.value, (len(rows), 1))
        return Decision.by(Actor.EXPERT, action, label=action)


FREE = FeatureSpec(shape=(2,))


def test_samples_have_the_stated_covariance():
    count = 20_000
    noise = CorrelatedNoise(covariance=COVARIANCE)
    noisy = NoisyExecution(Fixed(np.float32([0.1, -0.2])), noise=noise, action=FREE, clean_fraction=0.0)
    decision = noisy.act({}, {}, np.arange(count), streams(count))
    drawn = (decision.action - decision.label).astype(np.float64)
    expected = np.array(COVARIANCE)
    # Var of a sample covariance of normal numbers: (s_ii s_jj + s_ij^2) / n.
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / count)
    assert (np.abs(drawn.T @ drawn / count - expected) < 4.5 * error).all()
    assert (np.abs(drawn.mean(axis=0)) < 4.5 * np.sqrt(np.diag(expected) / count)).all()


def test_a_row_does_not_depend_on_its_neighbours():
    noise = CorrelatedNoise(covariance=COVARIANCE, theta=0.3)
    many = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.5)
    one = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.5)
    all_rows, all_streams, its = np.arange(300), streams(300), streams(300).take(np.array([7]))
    for _ in range(3):
        together = many.act({}, {}, all_rows, all_streams).action[7]
        assert np.array_equal(one.act({}, {}, np.array([7]), its).action[0], together)
        all_streams.advance()
        its.advance()


def test_correlated_noise_that_stays_keeps_its_covariance():
    count = 20_000
    noise = CorrelatedNoise(covariance=COVARIANCE, theta=0.2)
    noisy = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.0)
    source = streams(count)
    steps = []
    for _ in range(3):
        steps.append(noisy.act({}, {}, np.arange(count), source).action.astype(np.float64))
        source.advance()
    assert np.allclose(second_moment(steps[2]), COVARIANCE, atol=0.04 * 5 * np.sqrt(2 / count))
    assert np.allclose(
        steps[1].T @ steps[2] / count, 0.8 * np.array(COVARIANCE), atol=0.04 * 5 * np.sqrt(2 / count)
    )


def test_noise_of_no_covariance_is_refused():
    for bad in (
        ((1.0, 2.0), (2.0, 1.0)),
        ((1.0, 0.5), (0.2, 1.0)),
        ((1.0, 0.0),),
        ((np.nan, 0.0), (0.0, 1.0)),
        ((np.inf, 0.0), (0.0, 1.0)),
    ):
        with pytest.raises(ConfigError, match="covariance"):
            CorrelatedNoise(covariance=bad)
    noisy = NoisyExecution(
        Fixed(np.float32([0, 0])), noise=CorrelatedNoise(covariance=((1.0,),)), action=FREE
    )
    with pytest.raises(ConfigError, match="does not fit"):
        noisy.act({}, {}, np.arange(3), streams(3))


def test_another_discrete_action_is_executed_at_the_rate_epsilon_and_never_labelled():
    count, epsilon = 20_000, 0.3
    noisy = RandomExecution(Fixed([2]), epsilon=epsilon, action=discrete_spec(4))
    decision = noisy.act({}, {}, np.arange(count), streams(count))
    share = np.bincount(decision.action[:, 0], minlength=4) / count
    expected = np.array([0.1, 0.1, 0.7, 0.1])
    assert (np.abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / count)).all()
    assert (decision.label == 2).all()
    half = RandomExecution(Fixed([2]), epsilon=1.0, action=discrete_spec(4), clean_fraction=0.5)
    rows, source = np.arange(400), streams(400)
    first = half.act({}, {}, rows, source).action[:, 0] != 2
    source.advance()
    assert np.array_equal(half.act({}, {}, rows, source).action[:, 0] != 2, first)
    assert abs(first.mean() - 0.5) < 4.5 * 0.5 / 20
    actor = half.act({}, {}, rows, source).actor
    assert actor.tolist() == np.where(first, Actor.NOISE, Actor.EXPERT).tolist()
    with pytest.raises(CapabilityError):
        RandomExecution(Fixed([2]), epsilon=0.1, action=FREE)
    with pytest.raises(ConfigError):
        RandomExecution(Fixed([2]), epsilon=1.5, action=discrete_spec(4))


@pytest.mark.parametrize(
    ("least", "other", "is_refused"),
    [
        (-0.9e-9, 0.5, False),
        (-1.5e-9, 0.5, True),
        (-0.5e-3, 1e6, False),  # rounding is in proportion to what is rounded
        (-1.5e-3, 1e6, True),
        (0.0, 0.5, False),
    ],
)
def test_a_negative_eigenvalue_is_allowed_as_far_as_it_is_rounding(least, other, is_refused):
    covariance = ((other, 0.0), (0.0, least))
    if is_refused:
        with pytest.raises(ConfigError, match="negative eigenvalue"):
            CorrelatedNoise(covariance=covariance)
    else:
        assert np.isfinite(CorrelatedNoise(covariance=covariance).scaled(np.ones((3, 2)))).all()


def test_shares_are_shares():
    with pytest.raises(ConfigError, match=r"theta = 0\.0"):
        CorrelatedNoise(covariance=COVARIANCE, theta=0.0)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ConfigError, match="share of episodes"):
            NoisyExecution(Fixed([0.0]), noise=GaussianNoise(), action=FREE, clean_fraction=wrong)
        with pytest.raises(ConfigError, match="share of episodes"):
            RandomExecution(Fixed([0]), epsilon=0.1, action=discrete_spec(2), clean_fraction=wrong)
        with pytest.raises(ConfigError, match="epsilon is a probability"):
            RandomExecution(Fixed([0]), epsilon=wrong, action=discrete_spec(2))


def test_classes_are_the_envs_own_numbers():
    """Of classes 3, 4, 5 and 6 with 5 intended, the others are 3, 4 and 6."""
    noisy = RandomExecution(Fixed([5]), epsilon=1.0, action=discrete_spec(4, start=3))
    action = noisy.act({}, {}, np.arange(200), streams(200)).action
    assert np.unique(action).tolist() == [3, 4, 6]
    assert action.dtype == np.int64
