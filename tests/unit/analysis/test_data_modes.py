"""The data test on data whose answer is known: routes round a tree, and noise about one route."""

import numpy as np
import pytest

from steadyhand.analysis.data_modes import data_modes, multimodal_states
from steadyhand.analysis.lumps import LumpTest, two_means
from steadyhand.core.errors import DataError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.frames import Frames

STEPS, CHUNK = 12, 4
FAST = LumpTest(num_controls=100)


def routes(seed, *, num_episodes=96, left=0.5, noise=0.15):
    """Return normalised states (x, y), chunks of the velocity in y, and episodes, of y = +- sin(pi x)."""
    random = np.random.default_rng(seed)
    side = np.where(random.random(num_episodes) < left, 1.0, -1.0)[:, None]
    x = np.linspace(0.0, 1.0, STEPS)
    y = random.normal(0.0, 0.1, (num_episodes, 1)) + side * np.sin(np.pi * x)
    index = np.minimum(np.arange(STEPS)[:, None] + np.arange(CHUNK), STEPS - 1)
    velocity = (side * np.cos(np.pi * x))[:, index]
    velocity = velocity + noise * random.standard_normal(velocity.shape)
    states = np.stack([np.broadcast_to(x, y.shape), y], axis=2).reshape(-1, 2)
    chunks = velocity.reshape(-1, CHUNK)
    return normal(states), chunks / chunks.std(), np.repeat(np.arange(num_episodes), STEPS)


def normal(values):
    return (values - values.mean(0)) / values.std(0)


@pytest.mark.parametrize("left", [0.5, 0.3])
def test_two_routes_are_found(left):
    found = multimodal_states(*routes(0, left=left), num_states=120, test=FAST)
    assert found.is_multimodal
    assert found.neighbours == 32
    # The routes have a state in common only where they part and where they meet: 2 of 12 steps, about.
    assert 0.04 < found.share < 0.35
    assert found.share in found.interval
    assert found.unimodal_control <= 2
    assert found.explained > 0.5


def test_where_the_routes_part_nearly_every_state_is_multimodal():
    states, chunks, episode = routes(1, num_episodes=120)
    first = np.arange(0, len(states), STEPS)
    found = multimodal_states(
        states[first], chunks[first], np.arange(len(first)), num_states=60, neighbours=32, test=FAST
    )
    assert found.share > 0.95
    assert episode[-1] == 119


@pytest.mark.parametrize(
    ("kind", "num_seeds"), [("normal", 20), ("flat", 5), ("laplace", 5), ("exponential", 5)]
)
def test_one_noisy_route_is_not_multimodal(kind, num_seeds):
    """At most 10 % of the seeds may be called multimodal; the noise need not be normal."""
    wrong = 0
    for seed in range(num_seeds):
        random = np.random.default_rng(seed)
        states = random.normal(size=(40 * 8, 2))
        noise = {
            "normal": random.standard_normal,
            "flat": lambda size, random=random: random.uniform(-1.7, 1.7, size),
            "laplace": lambda size, random=random: random.laplace(0.0, 0.7, size),
            "exponential": lambda size, random=random: random.exponential(1.0, size),
        }[kind]((len(states), CHUNK))
        chunks = np.sin(states @ random.normal(size=(2, CHUNK))) + 0.5 * noise
        found = multimodal_states(
            states, chunks / chunks.std(0), np.repeat(np.arange(40), 8), num_states=20, seed=seed, test=FAST
        )
        wrong += found.is_multimodal
    assert wrong <= num_seeds // 10


def test_two_branches_that_the_state_tells_apart_are_not_two_ways():
    random = np.random.default_rng(3)
    # Fewer episodes on either branch than neighbours are asked for: neighbourhoods span both.
    branch = np.repeat(np.where(np.arange(48) % 2 == 0, 1.0, -1.0), 4)
    states = np.stack([branch, random.normal(size=len(branch))], axis=1)
    chunks = branch[:, None] + 0.1 * random.standard_normal((len(branch), CHUNK))
    found = multimodal_states(
        states, chunks / chunks.std(), np.repeat(np.arange(48), 4), num_states=60, neighbours=40, test=FAST
    )
    assert not found.is_multimodal


def test_the_shuffled_control_alone_would_be_misled():
    """Actions of random states are two lumps wherever the routes differ: it measures the marginal."""
    random = np.random.default_rng(4)
    side = np.where(np.arange(96) % 2 == 0, 1.0, -1.0)
    states = side[:, None] + 0.1 * random.standard_normal((96, 1))
    chunks = side[:, None] + 0.1 * random.standard_normal((96, CHUNK))
    found = multimodal_states(normal(states), chunks / chunks.std(), np.arange(96), num_states=60, test=FAST)
    assert found.shuffled_control > 50
    assert found.multimodal <= 2
    assert found.explained > 0.9


def test_an_outlier_is_no_way_of_doing_the_task():
    random = np.random.default_rng(5)
    chunks = random.standard_normal((32, 3))
    chunks[0] += 50.0
    assert not FAST(chunks, random)
    chunks[: 32 // 3] += 50.0
    assert FAST(chunks, random)


def test_two_means_explain_what_closed_forms_say():
    random = np.random.default_rng(6)
    normal_points = random.standard_normal((1, 40_000, 1))
    flat = random.uniform(-1, 1, (1, 40_000, 1))
    for points, share in ((normal_points, 2 / np.pi), (flat, 0.75)):
        explained, smaller, _ = two_means(points - points.mean(1, keepdims=True))
        assert explained[0] == pytest.approx(share, abs=0.01)
        assert smaller[0] == pytest.approx(0.5, abs=0.05)
    two = np.array([[[-1.0, 0.0], [-1.0, 0.2], [-1.0, -0.2], [3.0, 0.0]]])
    explained, smaller, gap = two_means(two)
    assert explained[0] == pytest.approx(12 / 12.08)
    assert (smaller[0], gap[0]) == (0.25, 4.0)


def frames(num_episodes, **changes):
    states, chunks, _ = routes(7, num_episodes=num_episodes)
    action = chunks[:, :1].astype(np.float32)
    arguments = {
        "observation_spec": {STATE: FeatureSpec(shape=(2,))},
        "action_spec": FeatureSpec(shape=(1,)),
        "control_dt": 0.1,
        "observation": {STATE: states.astype(np.float32)},
        "action": action,
        "expert_action": action,
        "weight": np.ones(len(action), dtype=np.float32),
        "episode_ends": np.arange(1, num_episodes + 1) * STEPS,
        "branch": np.full((num_episodes, 2), -1),
    }
    return Frames(**{**arguments, **changes})


def test_recorded_demonstrations():
    found = data_modes(frames(96), horizon=4, num_states=80, test=FAST)
    assert found.is_multimodal
    again = data_modes(frames(96), horizon=4, num_states=80, test=FAST)
    assert (found.multimodal, found.radius) == (again.multimodal, again.radius)


def test_too_few_episodes_are_refused():
    with pytest.raises(DataError, match="too few episodes"):
        data_modes(frames(5))


def test_few_episodes_are_enough_where_the_ways_lie_far_apart():
    """Twenty demonstrations of two tasks from the same states, as a policy that is told no task sees them."""
    random = np.random.default_rng(8)
    states = random.uniform(-1, 1, (20 * 12, 1))
    way = np.repeat(np.arange(20) % 2, 12)[:, None]
    chunks = np.where(way, 1.0, -1.0) + 0.05 * random.standard_normal((240, CHUNK))
    found = multimodal_states(
        normal(states), chunks / chunks.std(0), np.repeat(np.arange(20), 12), num_states=40, test=FAST
    )
    assert found.is_multimodal
    assert found.share > 0.4


def test_few_episodes_of_branches_that_the_state_tells_apart_are_no_two_ways():
    random = np.random.default_rng(9)
    branch = np.repeat(np.where(np.arange(14) % 2, 1.0, -1.0), 6)
    states = np.stack([branch, 0.1 * random.normal(size=len(branch))], axis=1)
    chunks = branch[:, None] + 0.05 * random.standard_normal((len(branch), CHUNK))
    found = multimodal_states(
        normal(states), chunks / chunks.std(0), np.repeat(np.arange(14), 6), num_states=40, test=FAST
    )
    assert not found.is_multimodal


def one_way(seed, *, num_episodes, noise):
    random = np.random.default_rng(seed)
    states = random.normal(size=(num_episodes * 6, 2))
    chunks = states @ random.normal(size=(2, CHUNK)) + noise * random.standard_normal((len(states), CHUNK))
    return states, chunks / chunks.std(0), np.repeat(np.arange(num_episodes), 6)


def test_the_smallest_share_that_would_have_been_found_is_told():
    """Clear ways would show from a small share on; in noise as large as the ways themselves none would."""
    clear = multimodal_states(*one_way(0, num_episodes=60, noise=0.2), num_states=64, test=FAST)
    assert not clear.is_multimodal
    assert clear.smallest_share is not None
    assert clear.smallest_share <= 0.2
    blurred = multimodal_states(*one_way(0, num_episodes=8, noise=5.0), num_states=24, test=FAST)
    assert not blurred.is_multimodal
    assert blurred.smallest_share is None


def test_what_was_told_of_the_power_is_true():
    """Two ways planted into data of the same kind at thrice the told share are found, at none of it not."""
    states, chunks, episode = one_way(1, num_episodes=60, noise=0.2)
    told = multimodal_states(states, chunks, episode, num_states=64, test=FAST).smallest_share
    assert told is not None
    random = np.random.default_rng(2)
    side = np.where(random.random(60) < 0.5, 1.0, -1.0)[episode]
    here = states[:, 0] > np.quantile(states[:, 0], 1.0 - 3.0 * told)
    two = chunks + np.sqrt(0.5 * CHUNK) / np.sqrt(CHUNK) * (side * here)[:, None] * 2.0
    assert multimodal_states(states, two, episode, num_states=64, test=FAST).is_multimodal


def test_pictures_alone_and_classes_are_refused():
    picture = {
        "observation_spec": {
            "observation.images.front": FeatureSpec(shape=(4, 4, 3), dtype="uint8", kind="image")
        },
        "observation": {"observation.images.front": np.zeros((96 * STEPS, 4, 4, 3), dtype=np.uint8)},
    }
    with pytest.raises(DataError, match="vector feature"):
        data_modes(frames(96, **picture))
    classes = FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=3)
    with pytest.raises(DataError, match="continuous actions"):
        data_modes(frames(96, action_spec=classes))
