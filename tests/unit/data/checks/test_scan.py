"""What the first pass knows of all steps: their statistics, and a sample of them."""

import numpy as np
import pytest

from check_blocks import block, counting
from steadyhand.core.specs import STATE
from steadyhand.data.base import Dataset
from steadyhand.data.checks.blocks import Block, blocks
from steadyhand.data.checks.scan import Known, Moments, Scan
from steadyhand.data.formats.arrays import episodes_from_arrays
from steadyhand.data.stats import QUANTILES, array_stats


def scanned(data: Dataset, parts: list[Block] | None = None) -> dict[str, Known]:
    scan = Scan(data.observation, data.action, num_steps=data.num_frames)
    for part in blocks(data) if parts is None else parts:
        scan.take(part)
    return scan.known()


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    values = np.random.default_rng(0).normal([5.0, -300.0, 0.0], [1.0, 0.1, 9.0], (50, 3))
    values += np.arange(50)[:, None]
    parts = [Moments.of(part) for part in np.split(values, [1, 9, 40])]
    whole = parts[0] + parts[1] + (parts[2] + parts[3])
    assert whole.count == 50
    np.testing.assert_allclose(whole.mean, values.mean(0))
    np.testing.assert_allclose(whole.squares / 50, values.var(0))
    np.testing.assert_array_equal([whole.low, whole.high], [values.min(0), values.max(0)])


def test_statistics_of_the_first_pass_are_those_of_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    state = random.normal([5.0, -300.0, 0.0], [1.0, 0.1, 0.0], (600, 3)).astype(np.float32)
    data = episodes_from_arrays({STATE: state}, state[:, :1], np.arange(60, 601, 60), control_dt=0.1)
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    known = scanned(data)[STATE]
    assert known.is_complete
    np.testing.assert_array_equal(known.sample, state)
    inside = np.arange(599) % 60 != 59
    np.testing.assert_allclose(known.change, np.abs(np.diff(state, axis=0))[inside], atol=1e-5)
    stats, expected = known.stats(), array_stats(state)
    for name in ("mean", "std", "min", "max", *QUANTILES):
        np.testing.assert_allclose(getattr(stats, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    assert stats.count == 600
    assert stats.std[2] == 0.0


@pytest.mark.parametrize(
    ("values", "width", "size"), [(90, 3, 30), (91, 3, 30), (2, 3, 1), (450, 3, 150), (900, 3, 300)]
)
def test_of_many_steps_some_are_drawn_each_once(
    monkeypatch: pytest.MonkeyPatch, values: int, width: int, size: int
) -> None:
    monkeypatch.setattr("steadyhand.data.checks.scan._SAMPLE_VALUES", values)
    monkeypatch.setattr("steadyhand.data.checks.blocks._BLOCK_VALUES", 1)
    known = scanned(counting(*(50,) * 6, width=width))[STATE]
    drawn = known.sample[:, 0]
    assert len(drawn) == size
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) <= set(range(300))
    assert drawn.max() > 200 or size == 1
    assert known.is_complete == (size == 300)
    # Each step of the state is one more than the one before, but at the ends of episodes there is none.
    np.testing.assert_array_equal(known.change, np.ones((sum(drawn % 50 != 49), width)))


def test_what_lies_in_the_files_is_known_apart() -> None:
    data = counting(5, 7)
    first, second = (block(np.ones((3, 3)) * n, action=np.ones((3, 4)), numbers=[n]) for n in (1, 2))
    second.__dict__["is_compacted"] = False
    known = scanned(data, [first, second])[STATE]
    assert known.compacted is not None
    assert (known.moments.count, known.compacted.count) == (6, 3)
    assert known.moments.high.tolist() == [2, 2, 2]
    assert known.stats(known.compacted).max.tolist() == [1, 1, 1]
    assert scanned(data, []) == {}
