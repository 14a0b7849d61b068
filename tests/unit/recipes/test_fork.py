"""The second scene of the tour, at the size of a test."""

from dataclasses import replace

import numpy as np
import pytest

from outcomes import episodes, section_of
from steadyhand.analysis.page import render
from steadyhand.analysis.results import Paths, Report, Scene
from steadyhand.analysis.summary import summarise
from steadyhand.recipes.fork import ForkScene, fork_scene
from steadyhand.training.config import TrainConfig


@pytest.fixture(scope="module")
def scene():
    run = replace(
        ForkScene(),
        demonstrations=40,
        num_starts=12,
        regression_training=TrainConfig(num_steps=150, batch_size=64),
        flow_training=TrainConfig(num_steps=5, batch_size=16),
    )
    return run, fork_scene(run)


def test_the_expert_passes_on_both_sides_and_the_mean_does_not_pass(scene):
    run, made = scene
    expert, mean, flow = made.panels
    assert (expert.name, mean.name, flow.name) == ("expert", "regression", "flow matching")
    assert not any(expert.failed)
    assert {max(y for _, y in line) > run.env.radius for line in expert.lines} == {True, False}
    assert all(mean.failed)
    assert len(flow.lines) == run.num_starts


def test_paths_end_at_the_disc_or_at_the_finish_line(scene):
    run, made = scene
    (x, y, radius), limit = made.discs[0], 1e-2
    for panel in made.panels:
        for line, failed in zip(panel.lines, panel.failed, strict=True):
            assert line[0] == (0.0, 0.0)
            end = line[-1]
            if not failed:
                assert end[0] >= run.env.goal_x - limit
            elif len(line) <= run.env.step_limit:
                assert ((end[0] - x) ** 2 + (end[1] - y) ** 2) ** 0.5 <= radius + run.env.max_speed * 0.15


def test_the_section_draws_every_path_marks_failures_and_escapes_text():
    lines = (((0.0, 0.0), (1.0, 0.5)), ((0.0, 0.0), (1.0, -0.5)))
    panel = Paths(name="<b>", outcome="one fails", lines=lines, failed=(False, True))
    scene = Scene(
        title="T", text="x", discs=((0.5, 0.0, 0.1),), extent=(0.0, 1.0, -1.0, 1.0), panels=(panel,)
    )
    results = (summarise(episodes("clone", np.array([True]), np.zeros(1), np.ones(1, dtype=np.int64))),)
    report = Report(title="t", command="c", env="forks", results=results)
    assert section_of(render(report), "T") == ""
    markup = section_of(render(replace(report, scene=scene)), "T")
    assert markup.count('class="path s0"') == 2
    assert markup.count('class="cross"') == 1
    assert markup.count("<circle") == 1
    assert "&lt;b&gt;" in markup
    assert "<b>" not in markup
    assert 'd="M0.0,320.0 320.0,160.0"' in markup  # scale 320 px a metre, y upwards from 1
