"""A dynamics model as plain numbers, against its formulas in NumPy."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from steadyhand.policies.residual_map import ROWS_AT_ONCE, ResidualMap

S, A = 3, 2
STATE, ACTION, RESIDUAL = np.array([0.5, 2.0, 3.0]), np.array([4.0, 0.25]), np.array([0.1, 5.0, 2.0])


def made(*hidden: int, activation: Any = "tanh") -> ResidualMap:
    rng = np.random.default_rng(0)
    sizes = (S + A, *hidden, S)
    return ResidualMap(
        weights=tuple(rng.normal(size=(high, low)) for low, high in pairwise(sizes)),
        biases=tuple(rng.normal(size=size) for size in sizes[1:]),
        activation=activation,
        state_scale=STATE,
        action_scale=ACTION,
        residual_scale=RESIDUAL,
    )


def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, S)), rng.normal(size=(count, A))


def norm(matrix: np.ndarray) -> float:
    return float(np.sqrt(np.linalg.eigvalsh(matrix.T @ matrix)[-1]))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (4,), (4, 6)])
def test_residuals_and_slopes_are_those_of_the_chain_rule(hidden: tuple[int, ...], activation: str) -> None:
    model = made(*hidden, activation=activation)
    states, actions = drawn(5)
    steps, slopes = model.step(states, actions), model.both_jacobians(states, actions)
    for row in range(5):
        y, slope = np.concatenate([states[row], actions[row]]), np.eye(S + A)
        for layer, (weight, bias) in enumerate(zip(model.weights, model.biases, strict=True)):
            y, slope = weight @ y + bias, weight @ slope
            if layer == len(hidden):
                break
            gain = (y > 0).astype(float) if activation == "relu" else 1.0 / np.cosh(y) ** 2
            y, slope = (np.maximum(y, 0) if activation == "relu" else np.tanh(y)), gain[:, None] * slope
        np.testing.assert_allclose(model.residual(states, actions)[row], y)
        np.testing.assert_allclose(steps[row], states[row] + y)
        np.testing.assert_allclose(slopes[row], slope, atol=1e-12)
    np.testing.assert_array_equal(model.jacobian(states, actions), slopes[..., :S])


def test_local_constants_are_norms_of_the_jacobian_in_the_units_asked_for() -> None:
    model, (states, actions) = made(4), drawn(3)
    slopes = model.both_jacobians(states, actions)
    inner = slopes * np.concatenate([STATE, ACTION]) / STATE[:, None]
    wanted = {
        ("state", "raw"): [norm(slope[:, :S]) for slope in slopes],
        ("both", "raw"): [norm(slope) for slope in slopes],
        ("state", "normalised"): [norm(slope[:, :S]) for slope in inner],
        ("both", "normalised"): [norm(slope) for slope in inner],
    }
    for (of, units), norms in wanted.items():
        found = model.local_lipschitz(states, actions, of=of, units=units)  # pyright: ignore
        np.testing.assert_allclose(found, norms)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 6)])
def test_constants_of_the_whole_net_are_products_of_the_norms_of_its_layers(hidden: tuple[int, ...]) -> None:
    model = made(*hidden)
    inner = list(model.weights)
    inner[0] = inner[0] * np.concatenate([STATE, ACTION])
    inner[-1] = inner[-1] / RESIDUAL[:, None]
    state = [model.weights[0][:, :S], *model.weights[1:]]
    found = model.end_to_end()
    assert found.normalised == pytest.approx(np.prod([norm(weight) for weight in inner]))
    assert found.state == pytest.approx(np.prod([norm(weight) for weight in state]))
    assert found.both == pytest.approx(np.prod([norm(weight) for weight in model.weights]))
    assert found.step == 1.0 + found.state


def test_any_number_of_rows_has_its_slopes() -> None:
    model = made(4)
    states, actions = drawn(ROWS_AT_ONCE + 2)
    whole = model.jacobian(states, actions)
    for rows in (slice(0, 1), slice(ROWS_AT_ONCE - 1, None)):
        np.testing.assert_allclose(whole[rows], model.jacobian(states[rows], actions[rows]))
    assert model.jacobian(states[:0], actions[:0]).shape == (0, S, S)
