"""What adding a head takes: its settings, its network and its page; nothing else knows of it."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import steadyhand as sh
from steadyhand.core.codec import read_json
from steadyhand.testing import check_head

ROOT = Path(__file__).parents[3]
FILES = {
    "robot_heads/huber.py": '''
"""Regression that far labels pull no harder than near ones."""

from dataclasses import dataclass
from typing import Annotated

from steadyhand.core.settings import Range
from steadyhand.policies.heads.config import HeadConfig


@dataclass(frozen=True, kw_only=True)
class Huber(HeadConfig):
    """Huber's loss (1964): squared near the label, absolute far from it.

    Attributes:
        delta: Distance from which on the loss is absolute, in normalised units.
    """

    delta: Annotated[float, Range(gt=0.0)] = 1.0

    def build(self, context, chunk):
        """Return the head for these sizes."""
        from robot_heads.huber_head import HuberHead

        return HuberHead(self, context, chunk)
''',
    "robot_heads/huber_head.py": '''
"""The head behind `Huber`."""

from torch import nn

from steadyhand.policies.contract import Head, Loss


class HuberHead(Head):
    """See `Huber`."""

    def __init__(self, config, context, chunk):
        super().__init__()
        self.chunk, self._delta = chunk, config.delta
        self.answer = nn.Linear(context.num_tokens * context.width, chunk.horizon * chunk.action_dim)

    def loss(self, context, target, noise):
        """Return the loss of each step."""
        del noise
        error = nn.functional.huber_loss(
            self.mode(context), target.actions, delta=self._delta, reduction="none"
        )
        return Loss(value=error.mean(-1))

    def sample(self, context, noise, prefix=None):
        """Return the one answer."""
        del noise, prefix
        return self.answer(context.flat()).unflatten(1, (self.chunk.horizon, self.chunk.action_dim))
''',
    "docs/methods/huber.md": """# Huber's regression

One answer, which a wrong label moves by no more than `delta`.
""",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the three files, and nothing else."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(ROOT / "docs" / "site")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "robot_heads"]:
        del sys.modules[name]


def test_two_files_make_a_head(package: Path, cli):
    name = "robot_heads.huber:Huber"
    brief = ("--head", name, "--steps", "20", "--batch-size", "16")
    small = ("--observation", "state", "--starts", "2", "--videos", "0", "--set", "env.max_episode_steps=20")
    done = [
        cli("record", "car", "--observation", "state", "--labels", "60", "--out", "demos"),
        cli("train", "demos", "--out", "clone", "--horizon", "2", *brief),
        cli("correct", "dagger", "car", "--out", "dagger", *small, *brief,
            "--labels", "40", "--rounds", "2", "--episodes", "2"),
    ]  # fmt: skip
    assert [said.status for said in done] == [0, 0, 0], "".join(said.err for said in done)
    for folder in ("clone", "dagger"):
        policy = sh.load(package / folder)
        assert type(policy.config.head) is import_module("robot_heads.huber").Huber
        action = policy({"state": np.zeros(policy.spec.observation["observation.state"].shape, np.float32)})
        assert np.isfinite(action).all()
    written = read_json(next((package / "clone").rglob("policy.json")))
    assert written["config"]["head"] == {"type": name, "delta": 1.0}

    listed = cli("parts", "head", "--plugin", "robot_heads.huber").out
    (line,) = [line for line in listed.splitlines() if name in line]
    assert "Huber's loss (1964)" in line
    assert "robot_heads" in line.split()
    assert "> 0" in cli("parts", "head", name).out
    wrong = cli("train", "demos", "--out", "other", *brief, "--set", "policy.head.delta=0")
    assert (wrong.status, (package / "other").exists()) == (2, False)
    assert "Distance from which on the loss is absolute" in wrong.err


def test_it_holds_to_the_laws(package: Path):
    (huber,) = import_module("robot_heads.huber").Huber.toys()
    assert check_head(huber) == {}


def test_its_page_is_built(package: Path):
    """The page of its settings is made, leads to the page that was written, and is part of a strict build."""
    pages = import_module("parts")
    docs = package / "docs"
    text = pages.page(docs, import_module("robot_heads.huber").Huber)
    assert "| `delta` | `float > 0` | `1.0` | Distance from which on the loss is absolute" in text
    assert "[Huber's regression](../../methods/huber.md)" in text
    (docs / "parts" / "head").mkdir(parents=True)
    (docs / "parts" / "head" / "Huber.md").write_text(text)
    pytest.importorskip("mkdocs", reason="make docs builds the site where the extra docs is installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    (package / "mkdocs.yml").write_text("site_name: robot heads\nstrict: true\n")
    build(load_config(str(package / "mkdocs.yml")))
    assert "delta" in (package / "site" / "parts" / "head" / "Huber" / "index.html").read_text()
