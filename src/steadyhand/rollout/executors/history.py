"""The observed steps that each row's next prediction may read."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Observation
from steadyhand.policies.contract import Prefix
from steadyhand.policies.noise import Noise
from steadyhand.policies.policy import PolicyModule

_PREFIX = "history/"


def require_features(features: Sequence[str], observation: Observation) -> None:
    """Raise SpecError if the env lacks a feature that the policy reads."""
    missing = [name for name in features if name not in observation]
    if missing:
        raise SpecError(
            "The env does not offer what the policy was trained on.",
            got=sorted(observation),
            expected=list(features),
            hint=f"add {', '.join(missing)} to the env's observation",
        )


class History:
    """The last `n_obs_steps` observations of every row; a young history repeats its first step.

    Where `PolicyConfig.history` is "reset", a history that is full is emptied before the next step enters it:
    1, 2, ..., n_obs_steps observed steps, then 1 again. A policy with one observed step needs no memory, and
    none is kept.

    Args:
        policy: Whose features are kept.
        num_rows: Rows of the env.
    """

    def __init__(self, policy: PolicyModule, num_rows: int) -> None:
        self._policy = policy
        self._features = policy.features
        self._num_steps = policy.config.n_obs_steps
        self._resets = policy.config.history == "reset"
        self._num_rows = num_rows
        self._past: dict[str, np.ndarray] = {}
        self._seen = np.zeros(num_rows, dtype=np.int64)

    def forget(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Empty the history of `rows`."""
        self._seen[rows] = 0

    def add(self, observation: Observation, rows: Int64[np.ndarray, " B"]) -> None:
        """Take in the current step of `rows`.

        Raises:
            SpecError: A feature that the policy reads is missing.
        """
        require_features(self._features, observation)
        if self._num_steps == 1:
            return
        seen = self._seen[rows]
        if self._resets:
            seen[seen >= self._num_steps] = 0
        fresh = seen == 0
        for name in self._features:
            value = observation[name]
            past = self._past.get(name)
            if past is None:
                past = np.zeros((self._num_rows, self._num_steps, *value.shape[1:]), dtype=value.dtype)
                self._past[name] = past
            past[rows, :-1] = np.where(
                fresh.reshape(-1, 1, *[1] * (value.ndim - 1)), value[:, None], past[rows, 1:]
            )
            past[rows, -1] = value
        self._seen[rows] = seen + 1

    def window(
        self, observation: Observation, rows: Int64[np.ndarray, " B"], places: Int64[np.ndarray, " D"]
    ) -> tuple[dict[str, Shaped[np.ndarray, "D O ..."]], Bool[np.ndarray, "D O"] | None]:
        """Return what the policy reads for rows[places], and which of it lies before the history's start.

        Args:
            observation: The current step of `rows`, which `add` was given.
            rows: (B,).
            places: (D,) positions in `rows`, ascending.
        """
        if self._num_steps == 1:
            if len(places) == len(rows):
                # A view of an array that may not be written to would make torch warn.
                return {
                    name: np.require(observation[name], requirements="W")[:, None] for name in self._features
                }, None
            return {name: observation[name][places][:, None] for name in self._features}, None
        some = rows[places]
        age = np.arange(self._num_steps)[::-1]
        return {name: past[some] for name, past in self._past.items()}, age >= self._seen[some][:, None]

    def predict(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        *,
        noise: Noise | None = None,
        prefix: Prefix | None = None,
    ) -> Shaped[Tensor, "D F A"]:
        """Return the policy's chunks for rows[places]; see `PolicyModule.predict_chunk`."""
        window, is_pad = self.window(observation, rows, places)
        return self._policy.predict_chunk(window, is_pad, noise=noise, prefix=prefix)

    def state(self) -> dict[str, np.ndarray]:
        """Return copies, enough to continue exactly."""
        return {
            "seen": self._seen.copy(),
            **{f"{_PREFIX}{name}": value.copy() for name, value in self._past.items()},
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._seen = state["seen"].copy()
        self._past = {
            name.removeprefix(_PREFIX): value.copy()
            for name, value in state.items()
            if name.startswith(_PREFIX)
        }
