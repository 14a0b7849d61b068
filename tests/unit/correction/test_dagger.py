"""The algorithm around a learner whose fit is a line through the origin: every number can be recomputed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from line_learner import Line
from point_env import Halving, PointEnv
from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import STATE
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.gates import HumanGate, NearestGate
from steadyhand.correction.mixture import ExponentialDecay
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.correction.weighting import Sirius
from steadyhand.data.episode import Branch, demonstration

CONFIG = DaggerConfig(rounds=4, labels_per_round=20, episodes_per_round=2, validation_starts=6)


def summary(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))}


def test_labels_are_counted_and_data_is_aggregated(tmp_path):
    expert, learner = Halving(), Line()
    result = teach_in_rounds(PointEnv(4), expert, learner, config=CONFIG, folder=tmp_path, seed=0)
    assert [record.labels for record in result.rounds] == [20] * 4
    assert [record.total_labels for record in result.rounds] == [20, 40, 60, 80]
    assert result.queries == 80
    sizes = [json.loads((folder / "line.json").read_text())["n"] for folder in result.folders]
    assert sizes == [20, 40, 60, 80]
    assert result.trained_labels == sizes[result.best - 1]
    assert [record.beta for record in result.rounds] == [1.0, 0.0, 0.0, 0.0]
    assert result.rounds[0].online_loss is None
    assert result.rounds[1].online_loss is not None


class Bent(Halving):
    """No line can answer as it does."""

    def action(self, observation, privileged):
        x = observation[STATE]
        return -0.3 * x - 0.9 * x**3


def test_online_loss_and_regret_are_those_of_the_definition(tmp_path):
    learner = Line()
    result = teach_in_rounds(PointEnv(2), Bent(), learner, config=CONFIG, folder=tmp_path, seed=3)
    data = [learner.read(folder / "episodes") for folder in result.folders]
    online = [learner.loss(result.folders[i - 1], data[i]) for i in (1, 2, 3)]
    assert [record.online_loss for record in result.rounds[1:]] == pytest.approx(online)
    hindsight = np.mean([learner.loss(result.folders[3], data[i]) for i in (1, 2, 3)])
    assert result.rounds[3].hindsight_loss == pytest.approx(hindsight)
    assert result.rounds[3].regret == pytest.approx(np.mean(online) - hindsight)
    assert min(*online, hindsight) > 1e-6


def test_the_returned_iterate_is_the_best_by_validation_and_not_the_last(tmp_path):
    class Spoilt(Line):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start)
            if folder.name != "round-02":
                (folder / "line.json").write_text(json.dumps({"k": 3.0}))

    result = teach_in_rounds(PointEnv(4), Halving(), Spoilt(), config=CONFIG, folder=tmp_path, seed=0)
    assert result.best == 2
    assert result.best_folder.name == "round-02"
    assert [record.validation_success for record in result.rounds] == pytest.approx([1 / 6, 1, 1 / 6, 1 / 6])


def test_among_equal_rounds_the_later_one_is_returned(tmp_path):
    class Same(Line):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start)
            (folder / "line.json").write_text(json.dumps({"k": -0.5, "n": 1}))

    result = teach_in_rounds(PointEnv(4), Halving(), Same(), config=CONFIG, folder=tmp_path, seed=0)
    assert len({(one.validation_success, one.validation_return) for one in result.rounds}) == 1
    assert result.best == CONFIG.rounds


@pytest.mark.parametrize("die_at", [("fit", 1), ("fit", 3), ("write", 2), ("write", 4)])
def test_a_run_that_was_stopped_continues_to_the_same_end(tmp_path, die_at):
    def go(folder: Path, learner: Line):
        return teach_in_rounds(PointEnv(4), Halving(), learner, config=CONFIG, folder=folder, seed=5)

    whole = go(tmp_path / "whole", Line())
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", Line(die_at=die_at))
    again = Line()
    continued = go(tmp_path / "cut", again)
    assert summary(tmp_path / "cut") == summary(tmp_path / "whole")
    assert continued.best == whole.best
    assert sum(call[0] == "fit" for call in again.calls) < 5


def test_fine_tuning_starts_from_the_last_iterate_and_refitting_does_not(tmp_path):
    for training, expected in (
        ("refit", [None] * 4),
        ("fine_tune", [None, "round-01", "round-02", "round-03"]),
    ):
        config = DaggerConfig(
            rounds=4, labels_per_round=20, episodes_per_round=2, validation_starts=2, training=training
        )
        folder = tmp_path / training
        result = teach_in_rounds(PointEnv(4), Halving(), Line(), config=config, folder=folder, seed=0)
        warm = [json.loads((path / "line.json").read_text())["warm"] for path in result.folders]
        assert warm == expected


def test_demonstrations_stand_for_the_first_round_and_count_as_labels(tmp_path):
    x = np.array([[0.5], [-0.25], [0.1]], dtype=np.float32)
    demo = demonstration({STATE: x}, -0.5 * x, control_dt=0.1)
    config = DaggerConfig(rounds=2, labels_per_round=10, episodes_per_round=1, validation_starts=2)
    expert, learner = Halving(), Line()
    result = teach_in_rounds(
        PointEnv(2), expert, learner, config=config, folder=tmp_path, seed=0, initial=[demo]
    )
    assert [record.beta for record in result.rounds] == [0.0, 0.0]
    assert [record.total_labels for record in result.rounds] == [13, 23]
    assert all(record.online_loss is not None for record in result.rounds)
    assert json.loads((tmp_path / "round-00" / "line.json").read_text())["n"] == 3


def test_a_first_round_without_any_policy_is_refused(tmp_path):
    class Never(ExponentialDecay):
        def beta(self, round):
            return 0.0

    config = DaggerConfig(rounds=1, labels_per_round=4, episodes_per_round=1, beta=Never())
    with pytest.raises(ConfigError, match="beta_1 = 1"):
        teach_in_rounds(PointEnv(1), Halving(), Line(), config=config, folder=tmp_path, seed=0)
    with pytest.raises(ConfigError, match="episodes_per_round = 4"):
        DaggerConfig(labels_per_round=2, episodes_per_round=4)


def test_rounds_collect_from_train_starts_and_validate_on_validation_starts(tmp_path):
    seen = []

    class Watched(PointEnv):
        def reset(self, starts, rows):
            seen.extend(start.family for start in starts)
            super().reset(starts, rows)

    teach_in_rounds(Watched(4), Halving(), Line(), config=CONFIG, folder=tmp_path, seed=0)
    assert set(seen) == {"train", "validation"}
    assert seen.count("validation") == 4 * 6


def test_labels_made_from_demonstrations_count_for_nothing(tmp_path):
    seen = np.linspace(-1, 1, 6, dtype=np.float32)[:, None]
    demo = demonstration({STATE: seen}, -0.5 * seen, control_dt=0.1)
    made = demonstration({STATE: seen[:1] + 0.1}, -0.5 * seen[:1], control_dt=0.1)
    made = replace(made, branch=Branch(parent=0, step=2))
    config = DaggerConfig(rounds=2, labels_per_round=4, episodes_per_round=2, validation_starts=2)
    initial = [demo, made, made]
    result = teach_in_rounds(
        PointEnv(2), Halving(), Line(), config=config, folder=tmp_path, seed=0, initial=initial
    )
    assert [record.labels for record in result.rounds] == [4, 4]
    assert result.queries == 6 + 4 + 4
    assert result.trained_labels == 6 + 4 * result.best


def test_drives_that_failed_are_counted_round_by_round(tmp_path):
    class Away(Line):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start)
            (folder / "line.json").write_text(json.dumps({"k": 3.0}))

    learner = Away()
    result = teach_in_rounds(PointEnv(4), Halving(), learner, config=CONFIG, folder=tmp_path, seed=0)
    failed = [
        sum(episode.success is False for episode in learner.read(folder / "episodes"))
        for folder in result.folders
    ]
    assert failed[0] == 0  # the expert drove
    assert min(failed[1:]) > 0
    assert [record.starts_failed for record in result.rounds] == failed


def test_a_remedy_is_called_by_its_title_in_tables_or_by_its_class():
    class Mine(DaggerConfig):
        title = ""

        name = ""

    assert (DaggerConfig().in_tables, Mine().in_tables) == ("DAgger", "Mine")
    assert (DaggerConfig().key, Mine().key) == ("dagger", "mine")
    assert HgDagger(gate=HumanGate()).in_tables == "HG-DAgger"
    both = HgDagger(gate=NearestGate(), weighting=Sirius())
    assert both.in_tables == "HG-DAgger with NearestGate with Sirius"
