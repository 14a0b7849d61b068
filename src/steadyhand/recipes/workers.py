"""Who computes the cells of an experiment: processes of this machine, or a Ray cluster.

Both are executors of `concurrent.futures`. A cell travels by the name of its function and the values of its
settings; nothing of it is written to a disk. The same cell gives the same result anywhere, and says which
code computed it.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

from steadyhand.core.errors import CapabilityError

P = ParamSpec("P")
T = TypeVar("T")


def processes(count: int) -> Executor:
    """Return so many processes, one thread each, that end with this one, even if it is killed."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # they inherit it
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(max_workers=count, mp_context=spawn, initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class RayExecutor(Executor):
    """Tasks of a Ray cluster, on which this package is installed.

    Args:
        address: Where the cluster is, such as "auto" or "ray://host:10001"; one on this machine if empty.
        cpus: Cores that a task takes.

    Raises:
        CapabilityError: Ray is not installed.
    """

    def __init__(self, address: str = "", *, cpus: int = 1) -> None:
        try:
            ray = import_module("ray")
        except ModuleNotFoundError as error:
            raise CapabilityError(
                "Ray is not installed.",
                hint='pip install "steadyhand[scale]", or use processes of this machine',
            ) from error
        self._ray: Any = ray
        self._cpus = cpus
        self._owns = not ray.is_initialized()
        if self._owns:
            ray.init(address=address or None, runtime_env={"env_vars": {"OMP_NUM_THREADS": str(cpus)}})

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Ask the cluster for fn(*args, **kwargs)."""
        task = self._ray.remote(num_cpus=self._cpus, max_retries=3)(fn)
        return task.remote(*args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Leave the cluster, if this executor entered it."""
        del wait, cancel_futures
        if self._owns:
            self._ray.shutdown()
