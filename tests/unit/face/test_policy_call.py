"""`policy(observation)`: what a robot's loop needs, whatever form its observations come in."""

from pathlib import Path

import numpy as np
import pytest
import torch

import steadyhand as sh
from steadyhand.core.errors import SpecError
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.arrays import ArrayDataset

FRONT = "observation.images.front"


def dataset(action: FeatureSpec, **observation: FeatureSpec) -> ArrayDataset:
    """Three short episodes of random numbers with these features."""
    rng = np.random.default_rng(0)

    def column(spec: FeatureSpec) -> np.ndarray:
        if spec.kind == "image":
            return rng.integers(0, 256, (12, *spec.shape), dtype=np.uint8)
        if spec.kind == "discrete":
            return rng.integers(spec.start, spec.start + (spec.num_classes or 0), (12, 1))
        return rng.normal(size=(12, *spec.shape)).astype(np.float32)

    specs = {f"observation.{name.replace('__', '.')}": spec for name, spec in observation.items()}
    episodes = tuple(
        demonstration({name: column(spec) for name, spec in specs.items()}, column(action), control_dt=0.1)
        for _ in range(3)
    )
    return ArrayDataset(observation=specs, action=action, control_dt=0.1, all_episodes=episodes)


def untrained(data: ArrayDataset, **parts: object) -> sh.Policy:
    return sh.train(data, steps=1, validation_fraction=0.0, quiet=True, **parts)


@pytest.fixture(scope="module")
def both() -> sh.Policy:
    """A policy that sees a vector and a camera."""
    bounded = FeatureSpec(shape=(2,), low=(-0.1, -0.1), high=(0.1, 0.1))
    return untrained(dataset(bounded, state=FeatureSpec(shape=(3,)), images__front=image_spec(8, 10, 3)))


@pytest.fixture
def seen() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        STATE: rng.normal(size=(4, 3)).astype(np.float32),
        FRONT: rng.integers(0, 256, (4, 8, 10, 3), dtype=np.uint8),
    }


def test_a_row_of_a_batch_is_what_it_would_be_alone(both: sh.Policy, seen: dict[str, np.ndarray]) -> None:
    both.reset()
    together = both(seen)
    assert together.shape == (4, 2)
    for row in range(4):
        both.reset()
        alone = both({name: value[row] for name, value in seen.items()})
        assert alone.shape == (2,)
        np.testing.assert_allclose(alone, together[row], rtol=1e-5, atol=1e-6)


def test_names_dtypes_and_layouts_do_not_matter(both: sh.Policy, seen: dict[str, np.ndarray]) -> None:
    both.reset()
    plain = both(seen)
    forms = [
        {"state": seen[STATE].astype(np.float64), "front": seen[FRONT], "extra": "ignored"},
        {"state": seen[STATE].tolist(), "images.front": seen[FRONT].astype(np.int64)},
        {STATE: torch.from_numpy(seen[STATE]), "front": seen[FRONT].astype(np.float32) / 255},
        {"state": seen[STATE], FRONT: seen[FRONT].transpose(0, 3, 1, 2)},
    ]
    for form in forms:
        both.reset()
        np.testing.assert_array_equal(both(form), plain)


def test_actions_are_clipped_to_the_action_space(both: sh.Policy, seen: dict[str, np.ndarray]) -> None:
    both.reset()
    seen[STATE] = 1e3 * seen[STATE]
    window = {name: value[:, None] for name, value in seen.items()}
    raw = both.network.predict_chunk(window)[:, 0].numpy()
    assert np.abs(raw).max() > 0.1
    np.testing.assert_array_equal(both(seen), np.clip(raw, np.float32(-0.1), np.float32(0.1)))


def test_integers_are_numbers_of_a_vector() -> None:
    policy = untrained(dataset(FeatureSpec(shape=(1,)), state=FeatureSpec(shape=(3,))))
    as_floats = policy(np.array([1.0, 2.0, 3.0]))
    policy.reset()
    np.testing.assert_array_equal(policy([1, 2, 3]), as_floats)


def test_a_choice_is_the_env_s_own_number() -> None:
    policy = untrained(dataset(discrete_spec(3, start=5), state=FeatureSpec(shape=(2,))))
    assert int(policy(np.zeros(2))) in (5, 6, 7)
    policy.reset()
    batch = policy(np.zeros((4, 2)))
    assert batch.shape == (4,)
    assert batch.dtype == np.int64


def test_history_and_chunks_are_kept_until_reset() -> None:
    rng = np.random.default_rng(2)
    data = dataset(FeatureSpec(shape=(1,)), state=FeatureSpec(shape=(2,)))
    policy = untrained(data, n_obs_steps=2, horizon=4, n_action_steps=2)
    steps = rng.normal(size=(5, 2)).astype(np.float32)
    actions = [policy(one) for one in steps]

    def chunk(before: int, now: int) -> np.ndarray:
        pad = np.array([[before == now and now == 0, False]])
        return policy.network.predict_chunk({STATE: steps[None, [before, now]]}, pad).numpy()[0]

    expected = [*chunk(0, 0)[:2], *chunk(1, 2)[:2], chunk(3, 4)[0]]
    np.testing.assert_allclose(actions, expected, rtol=1e-5, atol=1e-6)
    policy.reset()
    np.testing.assert_array_equal(policy(steps[0]), actions[0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"state": np.zeros(3)}, "lacks a feature"),
        ({"state": np.zeros(4), "front": np.zeros((8, 10, 3), np.uint8)}, "wrong shape"),
        ({"state": np.zeros(3), "front": np.zeros((9, 10, 3), np.uint8)}, "wrong shape"),
        ({"state": [0, np.nan, 0], "front": np.zeros((8, 10, 3), np.uint8)}, "not finite"),
        ({"state": ["a", "b", "c"], "front": np.zeros((8, 10, 3), np.uint8)}, "no real number"),
        ({"state": np.zeros((2, 3)), "front": np.zeros((8, 10, 3), np.uint8)}, "not of the same"),
        ({"state": np.zeros((0, 3)), "front": np.zeros((0, 8, 10, 3), np.uint8)}, "wrong shape"),
        (np.zeros(3), "must name them"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(both: sh.Policy, wrong: object, words: str) -> None:
    both.reset()
    with pytest.raises(SpecError, match=words):
        both(wrong)


def test_another_batch_in_the_middle_of_episodes_is_refused(
    both: sh.Policy, seen: dict[str, np.ndarray]
) -> None:
    both.reset()
    both(seen)
    with pytest.raises(SpecError, match=r"policy\.reset\(\)"):
        both({name: value[:2] for name, value in seen.items()})
    with pytest.raises(SpecError, match=r"policy\.reset\(\)"):
        both({name: value[0] for name, value in seen.items()})


def test_a_policy_is_saved_and_loaded(both: sh.Policy, seen: dict[str, np.ndarray], tmp_path: Path) -> None:
    both.reset()
    expected = both(seen)
    loaded = sh.load(both.save(tmp_path / "mine"))
    np.testing.assert_array_equal(loaded(seen), expected)
    np.testing.assert_array_equal(sh.load(str(tmp_path / "mine"))(seen), expected)
    assert loaded.name == "mine"


def test_what_has_no_folder_lives_in_a_temporary_one_as_long_as_it_does() -> None:
    policy = untrained(dataset(FeatureSpec(shape=(1,)), state=FeatureSpec(shape=(2,))))
    folder = policy.folder
    assert folder is not None
    assert (folder / "policy" / "policy.json").is_file()
    del policy
    assert not folder.exists()


def test_a_policy_shows_itself_in_a_line_and_in_a_notebook(both: sh.Policy) -> None:
    assert repr(both).count("\n") == 0
    shown = both._repr_html_()
    assert "<caption>Policy clone</caption>" in shown
    assert "image [8, 10, 3]" in shown
    assert "->" not in shown  # escaped
