"""Newton's method: known roots, steps that are too long, and where it stops."""

import numpy as np
import pytest

from steadyhand.correction.roots import solve


def test_cubes_and_equations_without_a_root() -> None:
    target = np.array([[8.0], [-27.0], [0.001], [1.0]])

    def rise(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, None] == 3, x * x + target[rows], x**3 - target[rows])

    def slope(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, None] == 3, 2 * x, 3 * x * x)[..., None]

    roots = solve(rise, slope, np.ones((4, 1)), scale=np.ones(1), tolerance=1e-9, max_iterations=200)
    assert np.allclose(roots.x[:3, 0], [2.0, -3.0, 0.1], atol=1e-6)
    assert roots.converged.tolist() == [True, True, True, False]


def test_a_singular_jacobian_stops_a_row_and_not_the_others() -> None:
    def rise(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, None] == 0, np.ones_like(x), x - 3.0)

    def slope(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, None, None] == 0, 0.0, 1.0) * np.ones((len(x), 1, 1))

    roots = solve(rise, slope, np.zeros((2, 1)), scale=np.ones(1))
    assert roots.converged.tolist() == [False, True]
    assert roots.x[1, 0] == pytest.approx(3.0)


def test_a_guess_that_is_near_enough_is_left_where_it_is():
    guess = np.array([[0.75], [0.5]])
    found = solve(
        lambda x, rows: x - 1.0,
        lambda x, rows: np.broadcast_to(np.eye(1), (len(rows), 1, 1)),
        guess,
        scale=np.ones(1),
        tolerance=0.25,
        max_iterations=1,
    )
    assert found.x[0] == 0.75
    assert found.x[1] == 1.0
    assert found.converged.tolist() == [True, True]
    assert found.error.tolist() == [0.25, 0.0]


def halved(x, rows):
    """The slope of a line as if it were twice as steep: every step goes half of the way."""
    return np.broadcast_to(2.0 * np.eye(x.shape[1]), (len(rows), x.shape[1], x.shape[1]))


def test_a_row_that_is_near_enough_after_a_step_goes_no_farther():
    found = solve(lambda x, rows: x - 1.0, halved, np.array([[0.0], [-1.0]]), scale=np.ones(1), tolerance=0.5)
    assert found.x[:, 0].tolist() == [0.5, 0.5]
    assert found.error.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("guesses", [[3.0], [3.0, -2.5, 0.5]])
def test_a_step_that_is_too_long_is_halved(guesses):
    """Newton's own step on the arctangent leads away from the root for |x| > 1.39."""
    found = solve(
        lambda x, rows: np.arctan(x),
        lambda x, rows: 1.0 / (1.0 + np.square(x))[..., None],
        np.array(guesses)[:, None],
        scale=np.ones(1),
        tolerance=1e-9,
    )
    assert found.converged.all()
    assert np.abs(found.x).max() < 1e-8


def test_a_row_that_no_step_brings_closer_stops_where_it_is_and_is_asked_no_more():
    asked: list[list[int]] = []

    def rise(x, rows):
        asked.append(rows.tolist())
        return np.where(rows[:, None] == 0, 1.0, x - 8.0)

    found = solve(rise, halved, np.zeros((2, 1)), scale=np.ones(1), tolerance=1e-3)
    assert found.x[0] == 0.0
    assert found.converged.tolist() == [False, True]
    first = [number for number, rows in enumerate(asked) if 0 in rows]
    assert max(first) < 15  # one Newton step and its halvings
    assert len(asked) > 20


def test_errors_are_lengths_in_units_of_the_scale():
    found = solve(
        lambda x, rows: np.array([[3.0, 8.0]]),
        halved,
        np.zeros((1, 2)),
        scale=np.array([1.0, 2.0]),
        max_iterations=1,
    )
    assert found.error.tolist() == [5.0]
    nowhere = solve(lambda x, rows: np.full_like(x, np.nan), halved, np.zeros((1, 1)), scale=np.ones(1))
    assert nowhere.error.tolist() == [np.inf]
    assert not nowhere.converged.any()


def test_a_singular_jacobian_takes_the_shortest_step():
    """x_1 + x_2 = 4 twice: from (0, 0) the nearest root is (2, 2)."""
    found = solve(
        lambda x, rows: np.repeat(x.sum(axis=1, keepdims=True) - 4.0, 2, axis=1),
        lambda x, rows: np.ones((len(rows), 2, 2)),
        np.zeros((1, 2)),
        scale=np.ones(2),
        tolerance=1e-9,
    )
    assert found.x[0] == pytest.approx([2.0, 2.0])
