"""The conformance batteries: what every encoder, head and policy must hold to, for your own ones too.

    from steadyhand.testing import check_head

    def test_my_head() -> None:
        check_head(MyHead())

A check raises AssertionError that names the law that is broken.
"""

from steadyhand.testing.conformance import check_encoder, check_head, check_policy
from steadyhand.testing.toy import toy_frames

__all__ = ["check_encoder", "check_head", "check_policy", "toy_frames"]
