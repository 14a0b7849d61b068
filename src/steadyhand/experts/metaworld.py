"""Meta-World's scripted policies as experts."""

import warnings

import numpy as np
from jaxtyping import Float32

from steadyhand.core.protocol import Observation
from steadyhand.envs.worlds.metaworld import OBSERVED, Task, scripted
from steadyhand.experts.base import Expert


class MetaworldScript(Expert):
    """The script of one task: what it does hangs on the present state alone, so it can be asked anywhere.

    It heads for a point with a speed that can exceed the bounds; such an answer is clipped to them, as
    Meta-World would clip it.

    Args:
        task: Name of the task.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self._script = scripted(task)

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B 4"]:
        """Return the script's action for each row, clipped to the bounds."""
        del observation
        asked = privileged[OBSERVED].astype(np.float64)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Constant.* may be too high", UserWarning)
            answers = [np.asarray(self._script.get_action(one)) for one in asked]
        return np.clip(np.array(answers, dtype=np.float32).reshape(-1, 4), -1.0, 1.0)
