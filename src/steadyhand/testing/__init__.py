"""The conformance batteries: what encoders, heads, policies, remedies and wrappers must hold to, yours too.

    from steadyhand.testing import check_head

    def test_my_head() -> None:
        check_head(MyHead())

A check raises AssertionError that names the law that is broken.
"""

from steadyhand.testing.conformance import check_encoder, check_head, check_policy
from steadyhand.testing.corrections import check_correction, check_refused
from steadyhand.testing.places import Place, small
from steadyhand.testing.toy import toy_frames
from steadyhand.testing.toy_heads import TOY_HEADS
from steadyhand.testing.wrappers import check_wrapper

__all__ = [
    "TOY_HEADS",
    "Place",
    "check_correction",
    "check_encoder",
    "check_head",
    "check_policy",
    "check_refused",
    "check_wrapper",
    "small",
    "toy_frames",
]
