"""The conformance batteries: what encoders, heads, policies, remedies and wrappers must hold to, yours too.

    from steadyhand.testing import check_head

    def test_my_head() -> None:
        check_head(MyHead())

A check raises AssertionError that names the law that is broken. A part says itself what it is exempt from,
and why (`Part.exempt`): such laws are left out with a warning, `LawLeftOut`, and returned.
"""

from steadyhand.testing.conformance import LawLeftOut, check_encoder, check_head, check_policy
from steadyhand.testing.corrections import check_correction, check_refused
from steadyhand.testing.places import Place, small
from steadyhand.testing.toy import policy_classes, toy_frames, toys
from steadyhand.testing.wrappers import check_wrapper

__all__ = [
    "LawLeftOut",
    "Place",
    "check_correction",
    "check_encoder",
    "check_head",
    "check_policy",
    "check_refused",
    "check_wrapper",
    "policy_classes",
    "small",
    "toy_frames",
    "toys",
]
