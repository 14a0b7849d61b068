"""What the tests of closed forms and of the softmax policy share: sizes, and data in batches."""

import torch
from torch import Tensor

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Data, Head, Target
from steadyhand.policies.noise import NoNoise

H, A, C, K = 3, 2, 4, 3
SIZE = ContextSpec(num_tokens=1, width=C)
CONTINUOUS = ChunkSpec(horizon=H, action_dim=A)
DISCRETE = ChunkSpec(horizon=H, action_dim=1, num_classes=K)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def target(actions: Tensor, weight: Tensor | None = None) -> Target:
    is_pad = torch.zeros(actions.shape[:2], dtype=torch.bool)
    return Target(
        actions=actions, is_pad=is_pad, weight=torch.ones(is_pad.shape) if weight is None else weight
    )


def in_batches(contexts: Tensor, whole: Target, size: int = 7) -> Data:
    def data():
        for first in range(0, len(contexts), size):
            part = slice(first, first + size)
            yield (
                Context.single(contexts[part]),
                Target(actions=whole.actions[part], is_pad=whole.is_pad[part], weight=whole.weight[part]),
            )

    return data


def no_fit(*inputs: object, **settings: object) -> None:
    raise AssertionError("a closed form needs no gradient steps")


def prepared(head: Head, contexts: Tensor, whole: Target) -> Head:
    head.prepare(in_batches(contexts, whole), no_fit, NoNoise())
    return head
