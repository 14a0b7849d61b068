"""torch.compile for the nets inside a policy, with a way back when it fails.

Only nets are compiled, in place: not the policy around them, which draws noise, checks padding and weighs.
Names of parameters, files on disk and results stay what they were, up to rounding.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import nn

from steadyhand.policies.policy import PolicyModule

ResultT = TypeVar("ResultT")
Backend = str | Callable[..., Any]
BACKEND: Backend = "inductor"
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_LIMIT = 64
"""Graphs that torch keeps. All nets of a process share one cache, whose usual size of 8 is soon full."""

_SLOT = "_compiled_call_impl"
"""Where `nn.Module.compile` puts what a call of the module then runs; None there is the plain module.

That method itself is not used: it compiles nothing in an `nn.Sequential`.
"""


class CompileWarning(UserWarning):
    """Compiling failed, and the run went on without."""


class CompiledNets:
    """The nets of a module, compiled inside `run` and untouched outside.

    So validation, rollouts and saving see the module as it always was. The first failure inside (no C++
    compiler, an operation that the backend lacks) is warned about once; the work is then done again, and
    from there on always, without compiling.

    Args:
        module: A policy, whose encoder and head are searched for nets, or another module.
        backend: Backend of torch.compile; None takes the usual one.
        is_on: Whether to compile at all.
    """

    def __init__(self, module: nn.Module, *, backend: Backend | None = None, is_on: bool = True) -> None:
        self._compiled: list[tuple[nn.Module, Any]] = []
        for net in nets_of(module) if is_on else ():
            compiled = torch.compile(_forward_of(net), backend=BACKEND if backend is None else backend)
            self._compiled.append((net, compiled))

    @property
    def is_on(self) -> bool:
        """Whether `run` compiles."""
        return bool(self._compiled)

    def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns, its nets compiled.

        Args:
            work: Must give the same when it is called a second time, which happens if compiling fails: give
                it gradients, too, since a backward pass is compiled when it is first needed.
        """
        if not self._compiled:
            return work()
        from torch._dynamo import config

        size = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
        self._switch(is_on=True)
        try:
            with config.patch({size: _LIMIT}), warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*not a leaf Tensor.*")  # the compiler looks at inputs
                return work()
        except Exception as error:  # whatever a compiler may raise; an error of ours comes again below
            failure = error
        finally:
            self._switch(is_on=False)
        result = work()
        self._compiled.clear()
        reason = " ".join(str(failure).split("\n")[:2])  # the second line is the cause, where there is one
        warnings.warn(
            f"torch.compile failed, going on without: {type(failure).__name__}: {reason}",
            CompileWarning,
            stacklevel=2,
        )
        return result

    def _switch(self, *, is_on: bool) -> None:
        for net, compiled in self._compiled:
            setattr(net, _SLOT, compiled if is_on else None)


def _forward_of(net: nn.Module) -> Callable[..., Any]:
    def forward(*inputs: Any, **named: Any) -> Any:
        return net.forward(*inputs, **named)

    return forward


def nets_of(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the parts worth compiling: what encoder and head call as one net, single layers left out."""
    parts = (module.encoder, module.head) if isinstance(module, PolicyModule) else (module,)
    for part in parts:
        yield from _nets_inside(part)


def _nets_inside(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        if isinstance(child, _CONTAINERS):
            yield from _nets_inside(child)
        elif sum(any(True for _ in layer.parameters(recurse=False)) for layer in child.modules()) > 1:
            yield child
