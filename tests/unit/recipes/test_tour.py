"""The tour at the size of a test: who teaches a method makes no difference to what it learns."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from steadyhand.analysis.results import Report
from steadyhand.recipes.tour import TourRun, tour

RUN = replace(
    TourRun(),
    env=replace(TourRun().env, num_tracks=2, num_held_out_tracks=1, max_episode_steps=60),
    training=replace(TourRun().training, num_steps=20),
    dagger=replace(
        TourRun().dagger, rounds=2, labels_per_round=40, episodes_per_round=2, validation_starts=2
    ),
    noise_episodes=2,
    num_starts=4,
    num_films=0,
    fork=None,
)


def taken(folder: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Report, list[object]]:
    """Take the tour as on a machine of so many cores; also return what was started beside it."""
    started: list[object] = []

    class Watched(subprocess.Popen):
        def __init__(self, words: list[str], **options: object) -> None:
            started.append(words[-1])
            super().__init__(words, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "cpu_count", lambda: cores)
        patch.setattr(subprocess, "Popen", Watched)
        report, _ = tour(RUN, folder)
    return report, started


def policies(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("policy/weights.safetensors"))
    }


def test_a_method_taught_in_a_second_process_is_the_same_policy(tmp_path, monkeypatch):
    alone, nobody = taken(tmp_path / "alone", 1, monkeypatch)
    beside, started = taken(tmp_path / "beside", 2, monkeypatch)
    assert "HG-DAgger" in started
    assert "HG-DAgger" not in nobody
    made = policies(tmp_path / "alone")
    assert sum("hg-dagger" in name for name in made) >= 2
    assert policies(tmp_path / "beside") == made
    assert [one.returns for one in beside.results] == [one.returns for one in alone.results]
    costs = {one.name: (one.cost.updates, one.cost.all_updates, one.cost.fits) for one in alone.results}
    assert costs["expert"] == (None, None, None)
    assert costs["cloning"] == (20, 20, 1)
    assert costs["DAgger"] == costs["HG-DAgger"] == (20, 40, 2)


def test_what_the_second_process_did_not_do_is_done_here(tmp_path, monkeypatch):
    def fails(words: list[str], **options: object) -> subprocess.Popen[bytes]:
        return popen(["false"], **options)

    popen = subprocess.Popen
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", fails)
    report, _ = tour(RUN, tmp_path / "run")
    assert [one.name for one in report.results][-1] == "HG-DAgger"
