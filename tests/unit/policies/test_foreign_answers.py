"""Encoders and heads of anybody are held to their contract while they train."""

from dataclasses import dataclass, field, replace
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

import steadyhand as sh
from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.policies.contract import Context, Loss
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.encoders.state_encoder import StateMLPEncoder
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.regression_head import RegressionHead
from steadyhand.policies.spec import PolicyConfig


@pytest.fixture(scope="module", autouse=True)
def _without_run_time_types():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class OddEncoder(StateMLPEncoder):
    """Says something else than its spec."""

    odd: str

    def forward(self, observation: Any, is_pad: Any, noise: Any) -> Any:
        context = super().forward(observation, is_pad, noise)
        plain = Context(tokens=context.tokens, state=context.state)
        forms = {
            "tensor": context.tokens,
            "narrow": replace(plain, tokens=context.tokens[..., :4]),
            "flat": replace(plain, tokens=context.tokens[:, 0]),
            "one row": replace(plain, tokens=context.tokens[:1]),
        }
        return forms[self.odd]


def unchecked(value: torch.Tensor) -> Loss:
    """Return a loss of any shape, also where tests check the shapes of dataclasses."""
    loss = object.__new__(Loss)
    for name, held in (("value", value), ("metrics", {})):
        object.__setattr__(loss, name, held)
    return loss


class OddHead(RegressionHead):
    """Returns something else than a loss of each step, or than a chunk."""

    odd: str

    def loss(self, context: Any, target: Any, noise: Any) -> Any:
        loss = super().loss(context, target, noise)
        forms = {"loss tensor": loss.value, "loss scalar": unchecked(loss.value.mean())}
        return {**forms, "loss row": unchecked(loss.value[:1])}.get(self.odd, loss)

    def mode(self, context: Any) -> Any:
        chunk = super().mode(context)
        forms = {"flat": chunk[:, 0], "long": torch.cat([chunk, chunk], 1), "row": chunk[:1], "list": [chunk]}
        return forms.get(self.odd, chunk)


@dataclass(frozen=True, kw_only=True)
class OddEncoding(EncoderConfig):
    odd: str = "tensor"

    def readable(self, observation: Any) -> tuple[str, ...]:
        return tuple(observation)

    def build(self, observation: Any, *, n_obs_steps: int) -> Any:
        if self.odd == "nothing":
            return None
        encoder = sh.encoders.StateMLP(hidden=(8,)).build(observation, n_obs_steps=n_obs_steps)
        encoder.__class__, encoder.odd = OddEncoder, self.odd
        return encoder


@dataclass(frozen=True, kw_only=True)
class OddAnswer(HeadConfig):
    odd: str = "flat"

    def build(self, context: Any, chunk: Any) -> Any:
        if self.odd == "nothing":
            return None
        head = sh.heads.Regression().build(context, chunk)
        head.__class__, head.odd = OddHead, self.odd
        return head


@dataclass(frozen=True, kw_only=True)
class Unread(EncoderConfig):
    """An encoder with a field that no file can hold."""

    what: Any = None

    def readable(self, observation: Any) -> tuple[str, ...]:
        return tuple(observation)

    def build(self, observation: Any, *, n_obs_steps: int) -> Any:
        return sh.encoders.StateMLP().build(observation, n_obs_steps=n_obs_steps)


@dataclass(frozen=True, kw_only=True)
class Nested(Unread):
    inner: EncoderConfig = field(default_factory=lambda: sh.encoders.StateMLP(hidden=(8,)))


@pytest.fixture(scope="module")
def demos() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "observation": rng.normal(size=(24, 3)),
        "action": np.zeros((24, 1)),
        "episode_ends": np.array([12, 24]),
    }


def train(demos: dict[str, np.ndarray], **parts: Any) -> sh.Policy:
    return sh.train(
        demos,
        **{"steps": 1, "batch_size": 4, "quiet": True, "encoder": sh.encoders.StateMLP(hidden=(8,)), **parts},
    )


@pytest.mark.parametrize("odd", ["tensor", "narrow", "flat", "one row", "nothing"])
def test_a_context_that_is_not_as_announced(odd: str, demos: dict[str, np.ndarray]) -> None:
    with pytest.raises(SpecError, match=r"another context|built no encoder"):
        train(demos, encoder=OddEncoding(odd=odd))


@pytest.mark.parametrize(
    "odd", ["loss tensor", "loss scalar", "loss row", "flat", "long", "row", "list", "nothing"]
)
def test_a_loss_or_a_chunk_of_another_shape(odd: str, demos: dict[str, np.ndarray]) -> None:
    with pytest.raises(SpecError, match=r"no loss of each step|chunk of another size|built no head"):
        train(demos, head=OddAnswer(odd=odd))


@pytest.mark.parametrize("what", [object(), Tensor(), {1, 2}, float("nan")])
def test_what_could_not_be_read_back_is_not_trained(what: object, demos: dict[str, np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="could never be loaded"):
        train(demos, encoder=Unread(what=what))


def test_what_can_be_read_back_is_trained(demos: dict[str, np.ndarray], tmp_path: Any) -> None:
    made = train(demos, encoder=Nested())
    assert sh.load(made.save(tmp_path / "policy")).config == made.config


def test_settings_that_are_no_dataclass_are_refused_when_they_are_named() -> None:
    class Encoding(EncoderConfig):
        def readable(self, observation: Any) -> tuple[str, ...]:
            return tuple(observation)

        def build(self, observation: Any, *, n_obs_steps: int) -> Any:
            raise NotImplementedError

    class Answer(HeadConfig):
        def build(self, context: Any, chunk: Any) -> Any:
            raise NotImplementedError

    for parts in ({"encoder": Encoding()}, {"head": Answer()}):
        with pytest.raises(ConfigError, match="@dataclass"):
            PolicyConfig(**parts)  # pyright: ignore[reportArgumentType]
