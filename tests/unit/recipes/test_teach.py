"""What does not fit is refused before anything is trained, and a method that asked for little says so."""

from dataclasses import replace
from pathlib import Path

import pytest

from steadyhand.core.errors import CapabilityError, ConfigError, SteadyhandError
from steadyhand.core.success import SuccessRule
from steadyhand.correction.burden import Burden
from steadyhand.correction.ccil_config import CcilConfig
from steadyhand.correction.collect import collect
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.gated_remedies import Eil, HgDagger, SafeDagger, ThriftyDagger
from steadyhand.correction.gates import HumanGate
from steadyhand.correction.human import RoadEdge, SimulatedHuman
from steadyhand.correction.offline import Cloning, NoiseBC
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.remedy import TrainedPolicy
from steadyhand.correction.rounds import RoundsResult
from steadyhand.correction.view_config import SideCameras
from steadyhand.correction.weighting import SourceMixture
from steadyhand.envs.car import CarConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import ForksExpert, PurePursuitExpert
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.encoders.resnet import ResNet18
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.correct import correct, shortfall
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.runs import CorrectRun
from steadyhand.training.config import TrainConfig

FORKS = {"env": ForksConfig(), "expert": ForksExpert()}
STATES = {"env": CarConfig(observation=("state",)), "expert": PurePursuitExpert()}
PICTURES = {"env": CarConfig(), "expert": PurePursuitExpert(), "policy": PolicyConfig(encoder=FlatImage())}
UNFIT = {
    "views of an env without cameras": (FORKS, SideCameras()),
    "corrective labels for pictures": (PICTURES, CcilConfig()),
    "corrective labels for a policy that sees pictures as well": (
        {"env": CarConfig(observation=("state", "camera")), "expert": PurePursuitExpert()},
        CcilConfig(features=("observation.state",)),
    ),
    "DART without a pair to estimate its noise on": (
        STATES,
        DartConfig(rounds=2, labels_per_round=30, episodes_per_round=3),
    ),
    "a gate that holds all demonstrations back": (
        STATES,
        SafeDagger(rounds=2, labels_per_round=10, episodes_per_round=1),
    ),
    "a human who watches a road where there is none": (
        FORKS,
        HgDagger(gate=HumanGate(human=SimulatedHuman(risk=RoadEdge(road_width=1.0)))),
    ),
    "frozen statistics of no weights": (
        {
            "env": CarConfig(observation=("camera",)),
            "expert": PurePursuitExpert(),
            "policy": PolicyConfig(encoder=ResNet18(norm="frozen_batch")),
        },
        Cloning(),
    ),
    "input noise on pictures": (PICTURES, NoiseBC()),
    "input noise twice": (
        {**STATES, "policy": PolicyConfig(input_noise=0.1)},
        NoiseBC(),
    ),
    "EIL of a closed form": (
        {**STATES, "policy": PolicyConfig(head=Ridge())},
        Eil(),
    ),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_refused_before_anything_is_trained_or_written(
    name: str, tmp_path: Path
) -> None:
    parts, method = UNFIT[name]
    said: list[str] = []
    with pytest.raises(SteadyhandError):
        correct(CorrectRun(method=method, **parts), tmp_path / "run", on_stage=said.append)
    assert not said
    assert not (tmp_path / "run").exists()


def taught(labels: int, *, best: int, interventions: int) -> TrainedPolicy:
    def record(number: int, burden: Burden) -> RoundRecord:
        return RoundRecord(
            round=number,
            beta=0.0,
            labels=0,
            total_labels=labels,
            online_loss=None,
            hindsight_loss=None,
            regret=None,
            train_loss=0.0,
            validation_success=0.0,
            validation_return=0.0,
            starts_failed=0,
            burden=burden,
        )

    rounds = RoundsResult(
        rounds=(
            record(1, Burden(labels=30, env_steps=30)),
            record(2, Burden(env_steps=300, interventions=interventions)),
        ),
        best=best,
        folders=(Path("1"), Path("2")),
        queries=labels,
        trained_labels=labels,
        validation_starts=2,
    )
    env = CarConfig(observation=("state",)).build(1)
    learner = PolicyLearner(env.spec, policy=PolicyConfig(), training=TrainConfig())
    return TrainedPolicy(
        name="HG-DAgger",
        folder=Path("1"),
        labels=labels,
        trained_labels=labels,
        wall_s=0.0,
        learner=learner,
        rounds=rounds,
    )


def test_a_gate_or_a_weighting_that_is_not_the_remedy_s_own_shows_in_its_name() -> None:
    assert HgDagger().in_tables == "HG-DAgger"
    assert HgDagger(weighting=SourceMixture()).in_tables == "HG-DAgger with SourceMixture"
    assert SafeDagger(gate=HumanGate()).in_tables == "SafeDAgger with HumanGate"


def test_demonstrations_that_an_offline_remedy_would_leave_aside_are_refused() -> None:
    env = CarConfig(observation=("state",)).build(1)
    learner = PolicyLearner(env.spec, policy=PolicyConfig(), training=TrainConfig())
    expert = PurePursuit(env.config)
    demos = collect(env, expert, env.starts("train", 1), source="demonstration", seed=0, max_steps=3)
    with pytest.raises(ConfigError, match="CCIL collects its own demonstrations"):
        CcilConfig().check(env, expert, learner, initial=demos)
    DartConfig().check(env, expert, learner, initial=demos * 8)


def test_a_method_that_asked_for_less_than_it_had_says_why() -> None:
    assert shortfall(taught(60, best=2, interventions=1), 60) == ""
    nobody = shortfall(taught(30, best=1, interventions=0), 60)
    assert "30 of 60 labels: nobody took over in 300 steps" in nobody
    assert "a clone of the demonstrations" in nobody
    some = shortfall(taught(40, best=2, interventions=3), 60)
    assert "there were 3 interventions" in some
    assert "clone" not in some


def test_risk_of_an_env_that_tells_no_success_is_refused_before_a_drive() -> None:
    env = CarConfig(observation=("state",)).build(1)
    learner = PolicyLearner(env.spec, policy=PolicyConfig(), training=TrainConfig())
    method = ThriftyDagger(rounds=2, labels_per_round=10, episodes_per_round=2)
    expert = PurePursuit(env.config)
    method.check(env, expert, learner)
    env.spec = replace(env.spec, success=SuccessRule(kind="unknown"))
    with pytest.raises(CapabilityError, match="nothing tells success"):
        method.check(env, expert, learner)
