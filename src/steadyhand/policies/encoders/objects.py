"""A transformer over things that are told one by one, in an order that means nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.settings import Count, Range
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Mode
from steadyhand.policies.encoders.config import EncoderConfig, is_vector

if TYPE_CHECKING:
    from steadyhand.policies.encoders.objects_encoder import ObjectTransformerEncoder


@dataclass(frozen=True, kw_only=True)
class ObjectTransformer(EncoderConfig):
    """A transformer over features that list things, (things, numbers of each), such as blocks on a table.

    All things go through one and the same MLP, each together with the vector features beside them (the
    gripper, the goal), and then look at one another and at a token of these vectors alone. The order of the
    things changes nothing: what a thing is, is told by its numbers. An MLP over all numbers side by side
    would have to learn everything once for each place in the list.

    Attributes:
        width: Width of a token.
        num_layers: Number of transformer layers.
        num_heads: Heads of each attention.
        join: What becomes of the tokens. "one": that of the vectors, which has looked at all others, is the
            answer, for heads that read a vector. "all": every token, for heads that attend to them.
    """

    width: Annotated[Count, Range(multiple_of="num_heads")] = 64
    num_layers: Count = 2
    num_heads: Count = 4
    join: Literal["one", "all"] = "one"

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all but images, if one of them lists things."""
        vectors = {name: spec for name, spec in observation.items() if is_vector(spec)}
        return tuple(vectors) if things_of(vectors) else ()

    def modes(self, observation: Mapping[str, FeatureSpec]) -> dict[str, Mode]:
        """Normalise all things alike: where one stands is not to be taken out of its numbers."""
        return dict.fromkeys(things_of(observation), "z_score_shared")

    @classmethod
    def toys(cls) -> tuple["ObjectTransformer", ...]:
        """Return small forms; see `Part`."""
        return (
            cls(width=16, num_layers=1, num_heads=2),
            cls(width=16, num_layers=1, num_heads=2, join="all"),
        )

    def build(
        self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> "ObjectTransformerEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.objects_encoder import ObjectTransformerEncoder

        return ObjectTransformerEncoder(self, observation, n_obs_steps=n_obs_steps)


def things_of(observation: Mapping[str, FeatureSpec]) -> dict[str, FeatureSpec]:
    """Return the features that list things, a line of numbers each."""
    return {
        name: spec for name, spec in observation.items() if spec.kind == "continuous" and len(spec.shape) == 2
    }
