"""The battery itself: each law catches a policy that breaks it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Encoder, Loss, Target
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.encoders.state_encoder import StateMLPEncoder
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.heads.regression_head import RegressionHead
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig
from steadyhand.testing import LawLeftOut, check_head, check_policy

CONFIG = PolicyConfig(encoder=StateMLP(hidden=(8,)), n_obs_steps=2, horizon=3)


def break_loss(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor, Target], Tensor]) -> None:
    whole = RegressionHead.loss

    def broken(self: RegressionHead, context: Context, target: Target, noise: Noise) -> Loss:
        return Loss(value=change(whole(self, context, target, noise).value, target))

    monkeypatch.setattr(RegressionHead, "loss", broken)


def break_encoder(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor]) -> None:
    whole = StateMLPEncoder.forward

    def broken(self: Encoder, *inputs: object) -> Context:
        return Context(tokens=change(whole(self, *inputs).tokens))  # pyright: ignore

    monkeypatch.setattr(StateMLPEncoder, "forward", broken)


def test_it_passes_what_is_whole() -> None:
    check_policy(CONFIG)


def test_it_catches_a_dead_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    build = Regression.build

    def with_dead(self: Regression, context: ContextSpec, chunk: ChunkSpec) -> RegressionHead:
        head = build(self, context, chunk)
        head.dead = nn.Parameter(torch.zeros(2))
        return head

    monkeypatch.setattr(Regression, "build", with_dead)
    with pytest.raises(AssertionError, match=r"gradient: not head\.dead"):
        check_policy(CONFIG)


def test_it_catches_global_randomness(monkeypatch: pytest.MonkeyPatch) -> None:
    break_loss(monkeypatch, lambda value, target: value * torch.rand(()))
    with pytest.raises(AssertionError, match="same noise, same bits"):
        check_policy(CONFIG)


def test_it_catches_rows_that_see_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    break_encoder(monkeypatch, lambda tokens: tokens - tokens.mean(0, keepdim=True))
    with pytest.raises(AssertionError, match=r"halves add up|rows are independent"):
        check_policy(CONFIG)


def test_it_catches_rows_that_depend_on_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    break_encoder(monkeypatch, lambda tokens: tokens * torch.arange(len(tokens))[:, None, None])
    with pytest.raises(AssertionError, match=r"halves add up|rows are independent|order"):
        check_policy(CONFIG)


def test_it_catches_a_policy_that_reads_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steadyhand.policies.policy.copy_pad", lambda value, is_pad: value)
    with pytest.raises(AssertionError, match="padded values"):
        check_policy(CONFIG)


def test_it_catches_a_loss_of_the_wrong_shape_or_size(monkeypatch: pytest.MonkeyPatch) -> None:
    break_loss(monkeypatch, lambda value, target: value / 0.0)
    with pytest.raises(AssertionError, match="not finite"):
        check_policy(CONFIG)


def test_it_catches_state_that_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    build = PolicyModule.build.__func__  # pyright: ignore

    def with_hidden(
        cls: type[PolicyModule], config: PolicyConfig, spec: object, *, seed: int = 0
    ) -> PolicyModule:
        policy = build(cls, config, spec, seed=seed)
        hidden = torch.full((), float(seed))
        forward = policy.encoder.forward
        policy.encoder.forward = lambda *inputs: Context(tokens=forward(*inputs).tokens + hidden)
        return policy

    monkeypatch.setattr(PolicyModule, "build", classmethod(with_hidden))
    with pytest.raises(AssertionError, match="survives saving"):
        check_policy(CONFIG)


def test_it_catches_a_head_that_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    break_loss(monkeypatch, lambda value, target: value * 1e-12)
    monkeypatch.setattr("steadyhand.testing.conformance.check_policy", lambda config, **rest: {})
    with pytest.raises(AssertionError, match="memorises"):
        check_head(Regression(), num_steps=5)


@dataclass(frozen=True, kw_only=True)
class Excused(Regression):
    """A head that says what it need not hold to."""

    laws: tuple[str, ...] = ()

    @property
    def exempt(self) -> dict[str, str]:
        return dict.fromkeys(self.laws, "a good reason")


def test_a_law_is_left_out_only_for_a_part_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    break_loss(monkeypatch, lambda value, target: value * torch.rand(()))
    head = Excused(laws=("same noise, same bits", "padded values do not matter", "halves add up"))
    config = replace(CONFIG, head=head)
    with pytest.raises(AssertionError, match="order does not matter"):
        check_policy(config)
    head = replace(head, laws=(*head.laws, "order does not matter"))
    with pytest.warns(LawLeftOut) as told:
        assert check_policy(replace(config, head=head)) == head.exempt
    assert [str(one.message) for one in told] == [f"not checked: {law} (a good reason)" for law in head.laws]


@pytest.mark.parametrize("law", ["survives saving", "memorizes"])
def test_nothing_is_exempt_from_being_loaded_or_from_a_law_that_there_is_not(law: str) -> None:
    with pytest.raises(AssertionError, match=f"nothing can be exempt from '{law}'"):
        check_policy(replace(CONFIG, head=Excused(laws=(law,))))


def test_a_part_is_exempt_from_what_the_parts_within_are() -> None:
    assert Judging(head=Tokens()).exempt == Tokens().exempt != {}
    assert Judging(head=Tokens(calibrated=True)).exempt == {}
