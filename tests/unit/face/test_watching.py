"""What a person sees while Python works, what a listener is told, and how public objects print."""

from pathlib import Path

import pytest

import steadyhand as sh
from point_env import PointEnv
from steadyhand.core.parts import load_all
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.parts import KINDS, kind_named
from steadyhand.recipes.runs import CorrectRun, EvalRun, RecordRun
from steadyhand.training.config import EmaConfig, TrainConfig

SMALL = {"steps": 20, "batch_size": 8}
DAGGER = sh.remedies.DaggerConfig(rounds=2, labels_per_round=10, episodes_per_round=2, validation_starts=2)


def test_progress_is_shown_unless_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "steadyhand.face.progress.LEAST_S", 0.0
    )  # off a terminal, lines, however short the work
    env = PointEnv(4)
    expert = sh.expert(lambda state: -0.5 * state, env)
    demos = sh.record(env, expert, labels=60, episodes=4)
    assert "recording: 60 of 60" in capsys.readouterr().err
    clone = sh.train(demos, **SMALL)
    assert "training clone: 20 of 20" in capsys.readouterr().err
    sh.correct(DAGGER, env, expert, **SMALL)
    assert "training dagger/round-01: 20 of 20" in capsys.readouterr().err
    sh.evaluate(clone, env, starts=6)
    assert "driving clone: 6 of 6" in capsys.readouterr().err
    sh.compare([clone], env, starts=6, films=0)
    assert "driving clone: 6 of 6" in capsys.readouterr().err
    sh.evaluate(
        sh.train(sh.record(env, expert, labels=60, episodes=4, quiet=True), quiet=True, **SMALL),
        env,
        starts=6,
        quiet=True,
    )
    sh.compare([clone], env, starts=6, films=0, quiet=True)
    assert capsys.readouterr().err == ""


def test_a_listener_is_told_the_figures_of_every_fit_and_round(tmp_path: Path) -> None:
    env = PointEnv(4)
    expert = sh.expert(lambda state: -0.5 * state, env)
    told: list[tuple[str, int, set[str]]] = []

    def listen(where: Path, step: int, figures: object) -> None:
        told.append((where.relative_to(tmp_path).as_posix(), step, {*dict(figures)}))

    sh.train(
        sh.record(env, expert, labels=60, episodes=4, quiet=True),
        out=tmp_path / "clone",
        on_metrics=listen,
        quiet=True,
        **SMALL,
    )
    assert {where for where, _, _ in told} == {"clone/training"}
    assert told[-1][1] == 20
    assert all("loss" in figures for _, _, figures in told)
    told.clear()
    sh.correct(DAGGER, env, expert, out=tmp_path / "dagger", on_metrics=listen, quiet=True, **SMALL)
    rounds = [step for where, step, _ in told if where == "dagger/rounds"]
    assert rounds == [1, 2]
    assert {where for where, _, _ in told} > {f"dagger/dagger/round-0{number}/training" for number in rounds}


@pytest.mark.parametrize("kind", [TrainConfig, PolicyConfig, CorrectRun, RecordRun, EvalRun, EmaConfig])
def test_settings_print_what_differs_from_their_defaults(kind: type) -> None:
    assert repr(kind()) == f"{kind.__name__}()"


def test_settings_print_as_they_would_be_written() -> None:
    training = TrainConfig(num_steps=5, ema=EmaConfig(power=0.5))
    assert repr(training) == "TrainConfig(num_steps=5, ema=EmaConfig(power=0.5))"
    assert eval(repr(training)) == training
    policy = PolicyConfig(head=sh.heads.Mixture(num_modes=3), horizon=2, observation=("observation.state",))
    assert (
        repr(policy)
        == "PolicyConfig(head=Mixture(num_modes=3), observation=('observation.state',), horizon=2)"
    )
    for name in KINDS:
        for part in load_all(kind_named(name)):
            if name != "remedy" and part.__module__.startswith("steadyhand."):
                assert part.__repr__ is TrainConfig.__repr__, "of every part alike"


def test_what_is_handed_out_prints_on_a_line_or_as_a_table_of_shapes() -> None:
    car = sh.make("car", num_rows=2)
    env = PointEnv(4)
    expert = sh.expert(lambda state: -0.5 * state, env)
    demos = sh.record(env, expert, labels=60, episodes=4, quiet=True)
    clone = sh.train(demos, quiet=True, **SMALL)
    compared = sh.compare([clone], env, starts=2, films=0, quiet=True)
    tables = [car, car.spec, PolicySpec.of_env(car.spec), demos]
    lines = [clone, clone.origin, compared, compared.report, demos[0], compared["clone"]]
    for one in tables:
        first, *rows = repr(one).splitlines()
        assert first.startswith(f"<{type(one).__name__}")
        assert all(row.startswith("  ") for row in rows)
        assert len(rows) >= 2
    for one in lines:
        assert len(repr(one).splitlines()) == 1
        assert len(repr(one)) < 250, repr(one)
