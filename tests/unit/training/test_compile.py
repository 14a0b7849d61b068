"""Compiling: the same losses, the same names, and a way back from every failure."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.policies.artifact import load_policy, save_policy, tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.testing import toy_frames
from steadyhand.training import compiling
from steadyhand.training.compiling import CompiledNets, CompileWarning, nets_of
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit

FRAMES = toy_frames({STATE: FeatureSpec(shape=(3,))}, FeatureSpec(shape=(2,)))
CONFIG = TrainConfig(num_steps=12, batch_size=8, log_every=1)


class Counting:
    """A backend that runs what it is given as it is, and counts."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def broken(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    raise RuntimeError("no compiler in sight\nand a long second line")


def broken_when_run(graph: torch.fx.GraphModule, inputs: list[Any]) -> Callable[..., Any]:
    def run(*values: Any) -> Any:
        raise NotImplementedError("an operation that the backend lacks")

    return run


def new_policy() -> PolicyModule:
    policy = PolicyModule.build(
        PolicyConfig(head=Gaussian(), n_obs_steps=2, horizon=3), PolicySpec.of_frames(FRAMES)
    )
    policy.fit_statistics(FRAMES)
    return policy


def losses(policy: PolicyModule, config: TrainConfig, **options: Any) -> list[float]:
    result = fit(policy, WindowSource(FRAMES, policy.window), config=config, **options)
    return [line["loss"] for line in result.history]


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    def choose(one: Any) -> Any:
        monkeypatch.setattr(compiling, "BACKEND", one)
        torch.compiler.reset()
        return one

    return choose


@pytest.fixture(scope="module")
def plain() -> tuple[list[float], dict[str, Tensor]]:
    policy = new_policy()
    return losses(policy, CONFIG), tensors_of(policy)


def test_the_losses_are_those_of_the_plain_run(
    backend: Callable[[Any], Any], plain: tuple[list[float], dict[str, Tensor]]
) -> None:
    counting, policy = backend(Counting()), new_policy()
    assert losses(policy, replace(CONFIG, compile=True)) == pytest.approx(plain[0], abs=1e-5)
    assert counting.graphs > 0
    assert tensors_of(policy).keys() == plain[1].keys()
    for name, value in tensors_of(policy).items():
        torch.testing.assert_close(value, plain[1][name], atol=1e-5, rtol=1e-4)


def test_the_artifact_is_that_of_a_plain_policy(backend: Callable[[Any], Any], tmp_path: Path) -> None:
    backend(Counting())
    policy = new_policy()
    losses(policy, replace(CONFIG, compile=True), folder=tmp_path, validation=None)
    save_policy(policy, tmp_path / "policy")
    window = {STATE: FRAMES.observation[STATE][:4].reshape(2, 2, 3)}
    assert torch.equal(load_policy(tmp_path / "policy").predict_chunk(window), policy.predict_chunk(window))


@pytest.mark.parametrize("failing", [broken, broken_when_run], ids=lambda one: one.__name__)
def test_a_broken_backend_warns_once_and_changes_no_bit(
    failing: Any, backend: Callable[[Any], Any], plain: tuple[list[float], dict[str, Tensor]]
) -> None:
    backend(failing)
    policy = new_policy()
    with pytest.warns(CompileWarning, match="going on without: .*(no compiler|backend lacks)") as caught:
        found = losses(policy, replace(CONFIG, compile=True))
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert found == plain[0]
    assert all(torch.equal(value, plain[1][name]) for name, value in tensors_of(policy).items())


def test_an_error_of_the_work_itself_is_raised_as_it_is(backend: Callable[[Any], Any]) -> None:
    backend(Counting())
    nets = CompiledNets(new_policy())

    def fail() -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        nets.run(fail)
    assert nets.is_on


def test_outside_of_run_the_nets_are_plain(backend: Callable[[Any], Any]) -> None:
    counting, policy = backend(Counting()), new_policy()
    nets = CompiledNets(policy)
    window = {STATE: FRAMES.observation[STATE][:4].reshape(2, 2, 3)}
    outside = policy.predict_chunk(window)
    assert counting.graphs == 0
    inside = nets.run(lambda: policy.predict_chunk(window))
    assert counting.graphs > 0
    torch.testing.assert_close(inside, outside)


def test_nets_are_what_encoder_and_head_call_as_a_whole() -> None:
    policy = new_policy()
    found = list(nets_of(policy))
    assert found == [policy.get_submodule("encoder.trunk")]  # the head is a single layer

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(3))
            self.last = nn.Linear(2, 2)
            self.nothing = nn.Sequential(nn.ReLU())

    stack = Stack()
    assert list(nets_of(stack)) == list(stack.layers)


def test_a_compiled_backward_pass_agrees(backend: Callable[[Any], Any]) -> None:
    backend("aot_eager")
    with_compiler, without = new_policy(), new_policy()
    short = replace(CONFIG, num_steps=3)
    assert losses(with_compiler, replace(short, compile=True)) == pytest.approx(
        losses(without, short), abs=1e-5
    )
