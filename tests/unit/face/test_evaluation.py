"""Outcomes in words, differences of the same starts, tables, reports and films."""

import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import steadyhand as sh
from point_env import PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.statistics import StatisticsError, paired_difference, wilson
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.rollout.evaluate import Evaluation


def evaluation(success: list[bool] | None, returns: list[float], *, family: str = "test") -> Evaluation:
    count = len(returns)
    return Evaluation(
        name="mine",
        starts=PointEnv(1).starts(family, count),
        success=None if success is None else np.array(success),
        returns=np.array(returns),
        lengths=np.arange(1, count + 1),
        terminated=np.zeros(count, dtype=bool),
        error=None,
        positions=None,
        control_dt=0.1,
        group=np.arange(count),
    )


def test_an_outcome_is_how_many_of_how_many() -> None:
    interval = wilson(20, 64)
    assert (round(100 * interval.low), round(100 * interval.high)) == (21, 43)
    shown = str(evaluation([True] * 20 + [False] * 44, [0.0] * 64))
    assert shown == "mine: 20 of 64 (95 % 21 to 43 %)"


def test_an_outcome_is_the_return_where_nothing_tells_success() -> None:
    assert str(evaluation(None, [2.0, 2.0, 2.0])) == "mine: return 2 (95 % 2 to 2) from 3 starts"
    assert str(evaluation(None, [2.5])) == "mine: return 2.5 from 1 starts"
    assert repr(evaluation(None, [2.5])).count("\n") == 0


def test_a_difference_is_the_paired_one() -> None:
    one, other = [True, True, True, False], [True, False, False, False]
    difference = evaluation(one, [0.0] * 4) - evaluation(other, [0.0] * 4)
    assert difference == paired_difference(np.array(one), np.array(other), seed=0)
    assert str(difference).startswith("+50 points (95 % ")
    assert "2 starts against 0, p = 0.5" in str(difference)
    returns = evaluation(None, [1.0, 2.0]) - evaluation(None, [0.5, 1.0])
    assert returns.difference.value == pytest.approx(0.75)
    assert str(returns).startswith("+0.75 (95 % ")


def test_a_difference_of_other_starts_is_refused() -> None:
    with pytest.raises(StatisticsError, match="same starts"):
        _ = evaluation([True], [0.0]) - evaluation([True], [0.0], family="train")


def test_columns_have_one_entry_for_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = evaluation([True, False], [1.0, 2.0]).columns()
    assert {len(value) for value in columns.values()} == {2}
    assert columns["success"].tolist() == [True, False]
    assert columns["first_failure"].tolist() == pytest.approx([np.inf, 0.2])
    assert columns["x"].tolist() == [start.options["x"] for start in PointEnv(1).starts("test", 2)]
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    assert evaluation([True, False], [1.0, 2.0]).to_pandas().keys() == columns.keys()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(CapabilityError, match="columns"):
        evaluation([True], [1.0]).to_pandas()


@pytest.fixture(scope="module")
def forks() -> Iterator[sh.Env]:
    env = sh.make("forks", num_rows=2, max_episode_steps=12)
    yield env
    env.close()


@pytest.fixture(scope="module")
def clone(forks: sh.Env) -> sh.Policy:
    demos = sh.record(forks, sh.expert("auto", forks), episodes=3, quiet=True)
    return sh.train(demos, steps=5, quiet=True)


def test_a_comparison_pairs_everybody_with_the_first(forks: sh.Env, clone: sh.Policy, tmp_path: Path) -> None:
    drivers = {"clone": clone, "again": clone}
    expert = sh.expert("auto", forks)
    compared = sh.compare(drivers, forks, expert=expert, starts=3, films=0, out=tmp_path / "a")
    alone = sh.evaluate(clone, forks, starts=3)
    assert [*compared.evaluations] == ["expert", "clone", "again"]
    assert compared["clone"].returns.tolist() == alone.returns.tolist()
    assert str(compared).splitlines()[-1].startswith("again - clone: +0 ")
    assert compared.page == tmp_path / "a" / "report.html"
    assert "<iframe srcdoc=" in compared._repr_html_()
    with pytest.raises(ConfigError, match="another question"):
        sh.compare(drivers, forks, starts=2, films=0, out=tmp_path / "a")
    with pytest.raises(ConfigError, match="different names"):
        sh.compare([clone, clone], forks, starts=2)


def test_a_film_is_shown_and_saved(forks: sh.Env, clone: sh.Policy, tmp_path: Path) -> None:
    film = sh.show(clone, forks, seconds=0.4)
    shown = unescape(film._repr_html_())
    assert shown.startswith("<iframe")
    assert shown.count("<video") == shown.count('class="player"') == 1
    (path,) = film.save(tmp_path / "clone.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"
    assert repr(film).count("\n") == 0
    with pytest.raises(CapabilityError, match="render"):
        sh.show(sh.expert(lambda x: -x, PointEnv(1)), PointEnv(1))


def test_what_had_another_task_is_not_subtracted() -> None:
    def driven(steps: int, torque: float = 3.0) -> Evaluation:
        settings = PendulumConfig(max_episode_steps=steps, max_torque=torque)
        env = sh.make(settings, num_rows=2)
        return sh.evaluate(sh.expert("auto", env), env, starts=2)

    short = driven(10)
    assert (short - driven(10)).difference.value == 0.0
    assert (short - driven(10, torque=2.0)).difference.count == 2  # settings of the env may differ
    with pytest.raises(StatisticsError, match="at most 10 steps"):
        _ = short - driven(20)
