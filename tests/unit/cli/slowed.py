"""The command line with a pause at each env step and gradient step, to leave time to be killed in."""

import sys
import time
from collections.abc import Callable
from typing import Any


def pause_before(owner: type, name: str, seconds: float) -> None:
    function: Callable[..., Any] = getattr(owner, name)

    def paused(*arguments: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return function(*arguments, **options)

    setattr(owner, name, paused)


if __name__ == "__main__":
    from steadyhand.cli.main import main
    from steadyhand.data.sampler import Sampler
    from steadyhand.envs.car.env import Car
    from steadyhand.envs.points import PointEnv

    pause = float(sys.argv[1])
    if pause:
        pause_before(Car, "step", pause)
        pause_before(PointEnv, "step", pause)
        pause_before(Sampler, "batch_indices", pause)
    raise SystemExit(main(sys.argv[2:]))
