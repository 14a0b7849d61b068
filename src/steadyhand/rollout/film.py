"""A listener that films some rows of a session."""

from collections.abc import Sequence

import numpy as np

from steadyhand.envs.base import BatchEnv
from steadyhand.rollout.session import StepEvent

Frame = np.ndarray
"""(height, width, 3) uint8."""


class FilmRecorder:
    """Films chosen starts until their episode or the film ends.

    Args:
        env: The env of the session; it must be able to render.
        start_indices: Which of the session's starts to film.
        max_steps: Steps to film of each.
        stride: Steps from one picture to the next.
        width: Width of a picture [pixels].
        height: Height of a picture [pixels].

    `frames[start index]` lists the pictures. After a failure the last picture is held, so that films of
    several controllers from one start keep the same length.
    """

    def __init__(
        self,
        env: BatchEnv,
        start_indices: Sequence[int],
        *,
        max_steps: int,
        stride: int = 1,
        width: int = 480,
        height: int = 360,
    ) -> None:
        self._env = env
        self._num_frames = -(-max_steps // stride)
        self._stride = stride
        self._size = (width, height)
        self.frames: dict[int, list[Frame]] = {index: [] for index in start_indices}

    def __call__(self, event: StepEvent) -> None:
        """Render the filmed rows after this step."""
        width, height = self._size
        for position, index in enumerate(event.start_index.tolist()):
            reel = self.frames.get(index)
            is_due = event.time[position] % self._stride == 0 or event.ended[position]
            if reel is not None and is_due and len(reel) < self._num_frames:
                reel.append(self._env.render(int(event.rows[position]), width=width, height=height))

    def reel(self, start_index: int) -> list[Frame]:
        """Return the pictures of one start, the last one held to the film's length."""
        reel = self.frames[start_index]
        return reel + reel[-1:] * (self._num_frames - len(reel))
