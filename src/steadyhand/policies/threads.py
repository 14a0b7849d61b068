"""How many threads torch uses: set here and nowhere else."""

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def use_threads(num_threads: int) -> Generator[None]:
    """Run a block with this many torch threads; small nets are fastest with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
