"""Distance to what was demonstrated."""

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.nets.distances import distances, in_shares
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores.base import Score, Seen, descriptor


class Neighbour(Score):
    """Distance to the K-th nearest training window (CRSAIL, 2025, with K = 5).

    In normalised units: of the features as the encoder reads them, or of the encoder's tokens if one of them
    is an image. The K-th rather than the nearest: one stray demonstration step does not vouch for its
    neighbourhood. Needs no answer of the policy, and so does not see an error in the middle of the data.

    Args:
        policy: Whose normaliser, and encoder, describe a window.
        bank: Training windows.
        num_neighbours: Number K of neighbours.
    """

    def __init__(self, policy: PolicyModule, bank: Seen, *, num_neighbours: int = 5) -> None:
        if not 1 <= num_neighbours <= len(bank):
            raise ConfigError(
                "The K-th neighbour must be in the bank.",
                got=f"num_neighbours = {num_neighbours}",
                expected=f"1 to {len(bank)} stored windows",
            )
        self._policy, self._rank = policy.eval(), num_neighbours
        self._bank = torch.from_numpy(descriptor(policy, bank))

    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the distances; neither proposal nor streams are used."""
        del action, streams
        query = torch.from_numpy(descriptor(self._policy, seen))
        found = [
            distances(rows, self._bank).kthvalue(self._rank, dim=1).values
            for rows in in_shares(query, self._bank)
        ]
        return torch.cat(found).double().numpy()
