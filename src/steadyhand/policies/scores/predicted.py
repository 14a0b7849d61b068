"""A classifier's guess that the policy differs from its expert."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import CapabilityError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import discrete_spec
from steadyhand.policies.heads.categorical import Categorical
from steadyhand.policies.heads.categorical_head import CategoricalHead
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores.base import Score, Seen, tensors
from steadyhand.policies.spec import PolicyConfig, PolicySpec

SAFE, UNSAFE = 0, 1
"""Classes: the discrepancy is at most tau, or above it."""


def classifier_of(config: PolicyConfig) -> PolicyConfig:
    """Return the same observations and encoder with a head that chooses between SAFE and UNSAFE."""
    return replace(
        config,
        head=Categorical(),
        horizon=1,
        n_action_steps=1,
        chunk_start=0,
        action_representation="absolute",
        normalisation={name: mode for name, mode in config.normalisation.items() if name != "action"},
    )


def classifier_spec(spec: PolicySpec) -> PolicySpec:
    """Return what the classifier is made for: two classes as its action."""
    return replace(spec, action=discrete_spec(2))


class PredictedDiscrepancy(Score):
    """P(|pi(s) - pi*(s)|^2 > tau), learnt: SafeDAgger's pi_safe (Zhang and Cho, 2016).

    Needs no expert when the policy drives, but labelled steps that the policy was not trained on before: on
    its own training data it differs from nobody.

    Args:
        classifier: A policy made by `classifier_of`, trained on SAFE and UNSAFE.
    """

    def __init__(self, classifier: PolicyModule) -> None:
        if not isinstance(classifier.head, CategoricalHead) or classifier.spec.action.num_classes != 2:
            raise CapabilityError(
                "A predicted discrepancy is a choice between two classes.",
                got=type(classifier.head).__name__,
                expected="a policy that was built with classifier_of(config)",
            )
        self._classifier, self._head = classifier.eval(), classifier.head

    @torch.no_grad()
    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the probability of UNSAFE; the state stands for what the policy does there."""
        del action, streams
        observation, is_pad = tensors(self._classifier, seen)
        logits = self._head.logits(self._classifier.encode(observation, is_pad, None))
        return logits.double().softmax(-1)[:, 0, UNSAFE].cpu().numpy()
