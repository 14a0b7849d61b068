"""Two handwritten letters as two answers to one question: pictures of 128 pixels, no two of them the same."""

from pathlib import Path

import numpy as np

from steadyhand.analysis.data_modes import DataModes, data_modes
from steadyhand.core.specs import STATE
from steadyhand.data.formats.arrays import episodes_from_arrays


def asked(shared_data: Path, *, told: bool) -> DataModes:
    """Return what the data test says of 400 letters, each an a or an o; `told` if the state says which."""
    with np.load(shared_data / "ocr-letters/letters_ocr.npz", allow_pickle=False) as stored:
        pixels, label = np.unpackbits(stored["pixels"], axis=1), stored["label"]
    random = np.random.default_rng(0)
    chosen = np.concatenate(
        [random.choice(np.flatnonzero(label == one), 200, replace=False) for one in (0, 14)]
    )
    random.shuffle(chosen)
    state = random.normal(size=(400, 2)).astype(np.float32)
    if told:
        state[:, 0] = 10.0 * (label[chosen] == 0) + 0.1 * state[:, 0]
    data = episodes_from_arrays(
        {STATE: state}, pixels[chosen].astype(np.float32), np.arange(1, 401), control_dt=0.1
    )
    return data_modes(data.frames(), horizon=1, num_states=8)


def test_two_letters_are_two_ways(shared_data: Path) -> None:
    found = asked(shared_data, told=False)
    assert found.is_multimodal
    assert found.wide is not None
    assert 0.3 < found.wide.share <= 0.5


def test_letters_that_the_state_tells_apart_are_not(shared_data: Path) -> None:
    assert not asked(shared_data, told=True).is_multimodal
