"""Every method that names a paper has its entry, and a run is asked for the right ones."""

import json
import re

import pytest

from steadyhand.core.errors import DataError
from steadyhand.core.parts import load_all
from steadyhand.recipes.config import RecipeConfig
from steadyhand.recipes.papers import cited, papers, parts_of_run
from steadyhand.recipes.parts import KINDS, kind_named
from steadyhand.recipes.remedies import remedies

NAMES_A_PAPER = re.compile(
    r"\b[A-Z]\w+(?: et al\.| and [A-Z]\w+)?, ?\(?(?:19|20)\d\d|et al\. \((?:19|20)\d\d\)"
)
OURS = {"cloning"}
"""Remedies that are nobody's in particular."""


def ours(found):
    """Leave out what other tests have defined."""
    return [part for part in found if part.__module__.startswith("steadyhand.")]


def parts():
    return {part.__name__: part for kind in KINDS for part in ours(load_all(kind_named(kind)))}


def described():
    return frozenset().union(*(paper.describes for paper in papers()))


def test_the_pattern_finds_what_docstrings_name():
    assert NAMES_A_PAPER.search("Flow matching (Lipman et al., 2023; as a policy).")
    assert NAMES_A_PAPER.search("A hill (Pomerleau, 1991).")
    assert NAMES_A_PAPER.search("Ross et al. (2011).")
    assert not NAMES_A_PAPER.search("Behaviour cloning of 2000 labels.")


def test_every_part_that_names_a_paper_has_an_entry():
    naming = {
        name for name, part in parts().items() if NAMES_A_PAPER.search(" ".join((part.__doc__ or "").split()))
    }
    assert {"Flow", "HumanGate", "Sirius", "Recurrent"} <= naming
    assert naming - described() == set()


def test_every_remedy_and_recipe_has_an_entry():
    assert {remedy.name for remedy in ours(remedies())} - OURS - described() == set()
    assert set(RecipeConfig.ours) - described() == set()


def test_entries_describe_nothing_that_does_not_exist():
    names = {*parts(), *(remedy.name for remedy in remedies())}
    assert described() - names == set()


def test_entries_are_bibtex_with_distinct_keys():
    keys = [paper.key for paper in papers()]
    assert len(keys) == len(set(keys)) > 30
    for paper in papers():
        assert re.match(r"@(article|inproceedings|techreport)\{\w+,\n", paper.text)
        assert paper.text.endswith("}")
        assert paper.text.count("{") == paper.text.count("}")
        for field in ("author", "title", "year"):
            assert re.search(rf"(?m)^  {field} = \{{.+\}},$", paper.text), (paper.key, field)
        assert "keywords" not in paper.text


def test_a_run_is_asked_for_its_parts(tmp_path, cli):
    policy = {"encoder": {"type": "StateMLP"}, "head": {"type": "Flow", "net": {"type": "UNet"}}}
    (tmp_path / "run.json").write_text(json.dumps({"policy": policy, "method": {"type": "DaggerConfig"}}))
    assert parts_of_run(tmp_path) == {"StateMLP", "Flow", "UNet", "DaggerConfig"}
    said = cli("cite", tmp_path)
    assert said.status == 0
    keys = re.findall(r"@\w+\{(\w+),", said.out)
    assert keys == ["chi2023diffusion", "lipman2023flow", "black2024pi0", "ross2011reduction"]
    assert cited({"StateMLP"}) == ()


def test_a_bench_is_asked_for_the_remedies_that_it_names(tmp_path):
    run = {"remedies": ["cloning", "dart", "hg-dagger"], "policy": {"head": {"type": "Mip"}}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert parts_of_run(tmp_path) == {"cloning", "dart", "hg-dagger", "Mip"}
    keys = [paper.key for paper in cited(parts_of_run(tmp_path))]
    assert keys == ["pan2025much", "laskey2017dart", "kelly2019hgdagger"]


def test_a_folder_without_a_run_is_refused(tmp_path, cli):
    with pytest.raises(DataError, match="no folder of a run"):
        parts_of_run(tmp_path)
    assert cli("cite", tmp_path).status == 2
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        parts_of_run(tmp_path)
