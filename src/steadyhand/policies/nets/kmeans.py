"""k-means: Lloyd's iterations (1982) from a k-means++ start (Arthur and Vassilvitskii, 2007)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from steadyhand.policies.noise import Noise


def kmeans(
    points: Float[Tensor, "M D"],
    num_centres: int,
    noise: Noise,
    *,
    counts: Bool[Tensor, "M D"] | None = None,
    num_iterations: int = 50,
    num_starts: int = 4,
) -> Float[Tensor, "K D"]:
    """Return the centres of the best of several runs.

    Entries that do not count take no part: they neither pull a centre nor add to a distance, so that a chunk
    at the end of an episode is grouped by its real steps. Where a centre starts at such a point, it takes the
    column's mean there. A centre without points restarts at the point that
    is worst served. Fewer points than centres: the points, over again from the first.

    Args:
        points: M points, at least one.
        num_centres: Number K of centres.
        noise: Source of the starts.
        counts: Which entries count; all if None.
        num_iterations: Iterations of Lloyd's algorithm at most, in each run; it stops when no point changes
            its centre.
        num_starts: Runs; the one with the least summed squared distance wins.
    """
    mask = torch.ones_like(points) if counts is None else counts.to(points.dtype)
    if counts is not None:
        mean = points.masked_fill(~counts, 0.0).sum(0) / mask.sum(0).clamp(min=1.0)
        points = torch.where(counts, points, mean)
    if len(points) <= num_centres:
        return points[torch.arange(num_centres, device=points.device) % len(points)].clone()
    runs = [
        _lloyd(points, mask, _plus_plus(points, mask, num_centres, noise), num_iterations)
        for _ in range(num_starts)
    ]
    return min(runs, key=lambda centres: squared_distances(points, centres, counts=mask).amin(1).sum().item())


def squared_distances(
    points: Float[Tensor, "M D"],
    centres: Float[Tensor, "K D"],
    *,
    counts: Bool[Tensor, "M D"] | Float[Tensor, "M D"] | None = None,
) -> Float[Tensor, "M K"]:
    """Return |point - centre|^2 over the entries that count, without an (M, K, D) intermediate."""
    mask = torch.ones_like(points) if counts is None else counts.to(points.dtype)
    masked = points * mask
    own = (masked * points).sum(1, keepdim=True)
    return (own - 2.0 * masked @ centres.T + mask @ centres.square().T).clamp(min=0.0)


def nearest_centre(
    points: Float[Tensor, "M D"],
    centres: Float[Tensor, "K D"],
    *,
    counts: Bool[Tensor, "M D"] | None = None,
) -> Int64[Tensor, " M"]:
    """Return the index of each point's centre."""
    return squared_distances(points, centres, counts=counts).argmin(1)


def _plus_plus(points: Tensor, mask: Tensor, num_centres: int, noise: Noise) -> Tensor:
    """Return starts: each next one drawn in proportion to its squared distance from those before."""
    drawn = noise.uniform(num_centres).to(points.device)
    chosen = [int(drawn[0].item() * len(points))]
    distance = squared_distances(points, points[chosen], counts=mask)[:, 0]
    for k in range(1, num_centres):
        ladder = distance.double().cumsum(0)
        index = int(torch.searchsorted(ladder, drawn[k].double() * ladder[-1], right=True).item())
        chosen.append(min(index, len(points) - 1))
        fresh = squared_distances(points, points[chosen[-1:]], counts=mask)[:, 0]
        distance = torch.minimum(distance, fresh)
    return points[chosen]


def _lloyd(points: Tensor, mask: Tensor, centres: Tensor, num_iterations: int) -> Tensor:
    """Return the centres after assigning and averaging by turns."""
    masked, before = points * mask, None
    for _ in range(num_iterations):
        distance, owner = squared_distances(points, centres, counts=mask).min(1)
        if before is not None and torch.equal(owner, before):
            break
        before = owner
        total = torch.zeros_like(centres).index_add_(0, owner, masked)
        weight = torch.zeros_like(centres).index_add_(0, owner, mask)
        centres = torch.where(weight > 0, total / weight.clamp(min=1.0), centres)
        dead = torch.bincount(owner, minlength=len(centres)) == 0
        worst = distance.topk(int(dead.sum()))
        if worst.values.any():
            centres[dead] = points[worst.indices]
            before = None
    return centres
