"""Scores of how little a policy is to be trusted in a state: what gates compare with their thresholds."""

from steadyhand.policies.scores.base import ActionScale, Score, Seen, proposals
from steadyhand.policies.scores.doubt import Doubt
from steadyhand.policies.scores.nearest import Neighbour
from steadyhand.policies.scores.own_loss import OwnLoss, require_telling
from steadyhand.policies.scores.predicted import PredictedDiscrepancy
from steadyhand.policies.scores.risk import Risk

__all__ = [
    "ActionScale",
    "Doubt",
    "Neighbour",
    "OwnLoss",
    "PredictedDiscrepancy",
    "Risk",
    "Score",
    "Seen",
    "proposals",
    "require_telling",
]
