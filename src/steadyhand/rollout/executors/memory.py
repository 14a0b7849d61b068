"""The state of a recurrent policy between two steps, so that a prediction reads one step and no window."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from steadyhand.core.protocol import Observation
from steadyhand.policies.contract import Prefix, StepEncoder
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule
from steadyhand.rollout.executors.history import require_features

_CARRY = "carry/"


class StepMemory:
    """What `History` holds for a policy whose history is "reset", as state and tokens of its encoder.

    Each step is encoded once. After `n_obs_steps` steps the state goes back to zero, as in robomimic's BC-RNN
    and as `History` empties its windows, so that answers are those of re-encoding the window, to rounding. A
    sliding window begins at zero state before another step each time: there is nothing to carry, and `fits`
    says so.

    Args:
        policy: The policy.
        num_rows: Rows of the env.
    """

    def __init__(self, policy: PolicyModule, num_rows: int) -> None:
        assert isinstance(policy.encoder, StepEncoder)
        self._policy, self._encoder = policy, policy.encoder
        self._num_rows, self._num_steps = num_rows, policy.config.n_obs_steps
        self._seen = np.zeros(num_rows, dtype=np.int64)
        self._age = np.arange(self._num_steps)[::-1]
        self._tokens: Tensor | None = None
        self._vectors: Tensor | None = None
        self._carry: tuple[Tensor, ...] = ()

    @staticmethod
    def fits(policy: PolicyModule) -> bool:
        """Return whether the state can be carried: a step encoder, "reset", and no earlier state needed."""
        return (
            isinstance(policy.encoder, StepEncoder)
            and policy.config.history == "reset"
            and policy.representation.kind == "absolute"
        )

    def forget(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Begin anew in `rows`."""
        self._seen[rows] = 0

    @torch.no_grad()
    def add(self, observation: Observation, rows: Int64[np.ndarray, " B"]) -> None:
        """Encode the current step of `rows`.

        Raises:
            SpecError: A feature that the policy reads is missing.
        """
        require_features(self._policy.features, observation)
        seen = self._seen[rows]
        seen[seen >= self._num_steps] = 0
        token, vectors, carry = self._encoder.step(self._normalised(observation), self._before(rows, seen))
        self._store(rows, token, vectors, carry, fresh=seen == 0)
        self._seen[rows] = seen + 1

    def predict(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        *,
        noise: Noise | None = None,
        prefix: Prefix | None = None,
    ) -> Shaped[Tensor, "D F A"]:
        """Return the policy's chunks for rows[places], whose current step was added."""
        del observation
        assert self._tokens is not None, "add comes first"
        some = rows[places]
        tokens, vectors = self._tokens, self._vectors
        if not self._is_all(some):
            index = torch.from_numpy(some).to(tokens.device)
            tokens = tokens[index]
            vectors = None if vectors is None else vectors[index]
        is_pad = torch.from_numpy(self._is_pad(some)).to(tokens.device)
        context = self._encoder.joined(tokens, is_pad, vectors)
        return self._policy.answer(context, noise=noise, prefix=prefix)

    def state(self) -> dict[str, np.ndarray]:
        """Return copies, enough to continue exactly."""
        out = {"seen": self._seen.copy()}
        parts = {"tokens": self._tokens, "vectors": self._vectors}
        parts |= {f"{_CARRY}{index}": part for index, part in enumerate(self._carry)}
        return out | {name: part.cpu().numpy().copy() for name, part in parts.items() if part is not None}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._seen = state["seen"].copy()
        held = {
            name: torch.from_numpy(value.copy()).to(self._policy.device)
            for name, value in state.items()
            if name in ("tokens", "vectors") or name.startswith(_CARRY)
        }
        self._tokens, self._vectors = held.get("tokens"), held.get("vectors")
        self._carry = tuple(held[f"{_CARRY}{index}"] for index in range(sum(_CARRY in name for name in held)))

    def _is_all(self, rows: Int64[np.ndarray, " B"]) -> bool:
        return len(rows) == self._num_rows and (len(rows) == 1 or bool((np.diff(rows) == 1).all()))

    def _is_pad(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, "B O"]:
        return self._age >= self._seen[rows][:, None]

    def _normalised(self, observation: Observation) -> dict[str, Tensor]:
        policy = self._policy
        step = {
            name: torch.as_tensor(np.require(observation[name], requirements="W"), device=policy.device)[
                :, None
            ]
            for name in policy.features
        }
        inside = torch.zeros(len(next(iter(step.values()))), 1, dtype=torch.bool, device=policy.device)
        return policy.normalised(step, inside)

    def _before(
        self, rows: Int64[np.ndarray, " B"], seen: Int64[np.ndarray, " B"]
    ) -> tuple[Tensor, ...] | None:
        """Return the state before the step: zero for rows that begin."""
        fresh = seen == 0
        if not self._carry or bool(fresh.all()):
            return None
        carry = self._carry
        if not self._is_all(rows):
            index = torch.from_numpy(rows).to(carry[0].device)
            carry = tuple(part[:, index] for part in carry)
        if not bool(fresh.any()):
            return carry
        begins = torch.from_numpy(fresh).to(carry[0].device)[None, :, None]
        return tuple(part.masked_fill(begins, 0.0) for part in carry)

    def _store(
        self,
        rows: Int64[np.ndarray, " B"],
        token: Tensor,
        vectors: Tensor | None,
        carry: tuple[Tensor, ...],
        *,
        fresh: Bool[np.ndarray, " B"],
    ) -> None:
        if self._tokens is None:
            self._tokens = token.new_zeros(self._num_rows, self._num_steps, token.shape[2])
            self._vectors = None if vectors is None else vectors.new_zeros(self._num_rows, vectors.shape[1])
            self._carry = tuple(
                part.new_zeros(part.shape[0], self._num_rows, part.shape[2]) for part in carry
            )
        is_all = self._is_all(rows)
        index = slice(None) if is_all else torch.from_numpy(rows).to(token.device)
        past = self._tokens[index, 1:]
        if bool(fresh.any()):  # tokens before the history's start are absent, and zero
            past = past.masked_fill(torch.from_numpy(fresh).to(token.device)[:, None, None], 0.0)
        tokens = torch.cat([past, token], dim=1)
        if is_all:
            self._tokens, self._vectors, self._carry = tokens, vectors, carry
            return
        self._tokens[index] = tokens
        if vectors is not None and self._vectors is not None:
            self._vectors[index] = vectors
        for whole, part in zip(self._carry, carry, strict=True):
            whole[:, index] = part
