"""Recurrent encoder: the trunk of robomimic's BC-RNN (Mandlekar et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.settings import Count
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Cell
from steadyhand.policies.encoders.config import PictureEncoder, SequenceEncoder

if TYPE_CHECKING:
    from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder


@dataclass(frozen=True, kw_only=True)
class Recurrent(SequenceEncoder):
    """LSTM or GRU over the observed steps: one token for each, which knows that step and those before.

    The state is zero before the first step that is not padding. robomimic trains on windows of 10 steps and
    resets the state every 10 steps when it drives: n_obs_steps=10, horizon=10, chunk_start=-9 and
    history="reset".

    Attributes:
        cell: Kind of layer (Hochreiter and Schmidhuber, 1997; Cho et al., 2014).
        hidden: Width of the state and of a token. robomimic: 400, with images 1000.
        num_layers: Number of stacked layers.
        images: Encoder of the pictures; its features go into the first layer beside the vectors.
    """

    cell: Cell = "lstm"
    hidden: Count = 400
    num_layers: Count = 2
    images: PictureEncoder | None = None

    @classmethod
    def toys(cls) -> tuple["Recurrent", ...]:
        """Return small forms; see `Part`."""
        return (cls(hidden=16),)

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "RecurrentEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.recurrent_encoder import RecurrentEncoder

        return RecurrentEncoder(self, observation, n_obs_steps=n_obs_steps)
