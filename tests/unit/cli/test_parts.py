"""`steadyhand parts`: what there is to choose from, in kinds, names and settings."""

import pytest

from steadyhand.policies.heads.config import HeadConfig
from steadyhand.recipes.parts import KINDS


def test_kinds_parts_and_settings_are_listed(cli):
    said = cli("parts").out
    assert all(f"{kind} " in said for kind in KINDS)
    said = cli("parts", "heads").out
    assert all(name in said for name in HeadConfig.ours)
    assert "pure-pursuit" in cli("parts", "expert").out
    said = cli("parts", "head", "Gaussian").out
    line = next(line for line in said.splitlines() if line.startswith("min_std"))
    assert " ".join(line.split()).startswith("min_std float > 0 and < init_std 0.01 ")
    assert "Lower bound of the standard deviation, in normalised units." in line
    assert "maximum likelihood of a diagonal gaussian" in said.lower()
    assert cli("parts", "Gaussian").out == said  # a part needs no kind
    both = cli("parts", "forks").out
    assert "ForksConfig (env)" in both
    assert "ForksExpert (expert)" in both


@pytest.mark.parametrize(
    ("words", "available"), [(("wheel",), "encoder, head"), (("head", "Gausian"), "did you mean 'Gaussian'")]
)
def test_what_there_is_not_is_refused_with_what_there_is(cli, words, available):
    said = cli("parts", *words)
    assert said.status == 2
    assert available in said.err
