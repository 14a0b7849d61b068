"""What the face is given is looked at first: wrong kinds are refused in words, none is taken for another."""

from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

import steadyhand as sh
from steadyhand.core.errors import ArtifactError, ConfigError, DataError, SpecError, SteadyhandError
from steadyhand.core.settings import Settings

BRIEF = {"steps": 2, "batch_size": 4, "quiet": True}


@pytest.fixture(scope="module", autouse=True)
def _without_run_time_types():
    """Who calls the library has no types checked at run time, as tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def env() -> sh.Env:
    return sh.make("pendulum", num_rows=2, max_episode_steps=6)


@pytest.fixture(scope="module")
def expert(env: sh.Env) -> sh.Controller:
    return sh.expert("auto", env)


@pytest.fixture(scope="module")
def demos(env: sh.Env, expert: sh.Controller) -> sh.Dataset:
    return sh.record(env, expert, episodes=3, quiet=True)


@pytest.fixture(scope="module")
def clone(demos: sh.Dataset) -> sh.Policy:
    return sh.train(demos, **BRIEF)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", None, True])
def test_counts_are_whole_numbers(wrong: object, env: sh.Env, expert: sh.Controller) -> None:
    calls = [
        lambda: sh.make("pendulum", num_rows=wrong),
        lambda: sh.record(env, expert, episodes=wrong, quiet=True),
        lambda: sh.evaluate(expert, env, starts=wrong),
        lambda: sh.compare([expert], env, starts=wrong),
        lambda: sh.show(expert, env, starts=wrong),
    ]
    if wrong is not None:
        calls.append(lambda: sh.record(env, expert, labels=wrong, quiet=True))
        calls.append(lambda: sh.correct("dagger", env, expert, labels=wrong, **BRIEF))
    for call in calls:
        with pytest.raises(ConfigError, match="does not count"):
            call()


@pytest.mark.parametrize("seed", [1.5, None, "a", True])
def test_a_seed_is_a_whole_number(
    seed: object, env: sh.Env, expert: sh.Controller, demos: sh.Dataset, clone: sh.Policy
) -> None:
    for call in (
        lambda: sh.record(env, expert, seed=seed),
        lambda: sh.train(demos, seed=seed, **BRIEF),
        lambda: sh.correct("dagger", env, expert, seed=seed, **BRIEF),
        lambda: sh.evaluate(clone, env, seed=seed),
        lambda: clone.reset(seed=seed),
    ):
        with pytest.raises(ConfigError, match="seed"):
            call()


@pytest.mark.parametrize("name", ["pendulum", "car", "CartPole-v1"])
def test_a_family_that_is_misspelt_is_no_fourth_family(name: str) -> None:
    with pytest.raises(SpecError, match="no such family"):
        sh.make(name, num_rows=1).starts("tset", 2)


@pytest.mark.parametrize("wrong", [None, 3, "auto", object(), lambda state: state, torch.nn.Linear(3, 1)])
def test_who_is_no_controller_is_sent_to_expert(wrong: object, env: sh.Env) -> None:
    with pytest.raises(ConfigError, match=r"steadyhand\.expert\(who, env\)"):
        sh.record(env, wrong)
    with pytest.raises(ConfigError, match=r"steadyhand\.expert\(who, env\)"):
        sh.correct("dagger", env, wrong)
    if not isinstance(wrong, str):
        with pytest.raises(ConfigError, match=r"steadyhand\.expert\(who, env\)"):
            sh.evaluate(wrong, env)


@pytest.mark.parametrize("wrong", [None, 3, object(), []])
def test_what_is_no_env_is_refused(wrong: object, expert: sh.Controller) -> None:
    for call in (lambda: sh.record(wrong, expert), lambda: sh.evaluate(expert, wrong)):
        with pytest.raises(ConfigError, match="no env"):
            call()


def test_settings_are_an_env(env: sh.Env) -> None:
    settings = replace(env.config, max_episode_steps=4)
    demos = sh.record(settings, sh.expert("auto", settings), episodes=2, quiet=True)
    assert demos.lengths.tolist() == [4, 4]


@pytest.mark.parametrize("wrong", [3, b"x", ""])
def test_paths(
    wrong: object, env: sh.Env, expert: sh.Controller, demos: sh.Dataset, clone: sh.Policy
) -> None:
    for call in (
        lambda: sh.record(env, expert, out=wrong),
        lambda: sh.train(demos, out=wrong, **BRIEF),
        lambda: sh.load(wrong),
        lambda: sh.compare([expert], env, out=wrong),
        lambda: clone.save(wrong),
    ):
        with pytest.raises(ConfigError, match="no path"):
            call()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_obs_steps": 0},
        {"horizon": 0},
        {"horizon": 4, "n_action_steps": 0},
        {"head": ""},
        {"recipe": ""},
        {"recipe": "act", "size": "huge"},
        {"policy": "act"},
        {"training": {}},
        {"observation": "state"},
        {"observation": 3},
        {"device": ""},
    ],
)
def test_nothing_wrong_is_taken_for_the_default(wrong: dict[str, object], demos: sh.Dataset) -> None:
    with pytest.raises(ConfigError):
        sh.train(demos, **{**BRIEF, **wrong})


@pytest.mark.parametrize("wrong", [3, object(), np.zeros((4, 4)), torch.zeros(3), [1, 2]])
def test_what_is_no_data(wrong: object) -> None:
    with pytest.raises((ConfigError, DataError), match=r"no path|no episodes"):
        sh.load_dataset(wrong)


def test_lists_and_tensors_are_arrays() -> None:
    arrays = {
        "observation": torch.randn(6, 3),
        "action": [[0.0]] * 6,
        "episode_ends": [3, 6],
    }
    assert sh.load_dataset(arrays).lengths.tolist() == [3, 3]


def test_numbers_of_numpy_are_numbers(demos: sh.Dataset, tmp_path: Path) -> None:
    head = sh.heads.Mixture(num_modes=np.int64(2), hidden=[np.int32(8)])
    assert (type(head.num_modes), head.hidden, type(head.hidden[0])) == (int, (8,), int)
    made = sh.train(demos, head=head, learning_rate=np.float32(0.5), **{**BRIEF, "steps": np.int64(2)})
    assert sh.load(made.save(tmp_path / "policy")).config == made.config


def test_plain_types_are_held_to_what_they_say() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Plain(Settings):
        number: int = 1
        real: float = 1.0
        flag: bool = True
        word: str = ""

    Plain(real=2)
    for wrong in ({"number": "8"}, {"number": 2.0}, {"real": None}, {"flag": 1}, {"word": 3}):
        with pytest.raises(ConfigError):
            Plain(**wrong)


@pytest.mark.parametrize("wrong", [3, [3], ["a"], sh.heads.Flow(), [sh.heads.Flow()]])
def test_parts_are_classes(wrong: object, clone: sh.Policy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no class of a part"):
        sh.load(clone.save(tmp_path / "policy"), parts=wrong)


@pytest.mark.parametrize(
    "wrong", [{"device": "x"}, {"device": "meta"}, {"executor": "temporal"}, {"deterministic": "yes"}]
)
def test_how_a_policy_is_loaded(wrong: dict[str, object], clone: sh.Policy, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        sh.load(clone.save(tmp_path / "policy"), **wrong)


def test_saving_takes_the_place_of_nothing_but_a_policy(clone: sh.Policy, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("a day of work")
    for name in ("thesis", "file"):
        with pytest.raises(ArtifactError):
            clone.save(tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "a day of work"
    (tmp_path / "empty").mkdir()
    for _ in range(2):
        assert sh.load(clone.save(tmp_path / "empty")).config == clone.config


def test_an_answer_that_is_not_finite_reaches_no_robot(demos: sh.Dataset) -> None:
    policy = sh.train(demos, **BRIEF)
    for value in (float("nan"), float("inf")):
        policy.reset()
        with torch.no_grad():
            list(policy.network.parameters())[-1].fill_(value)
        with pytest.raises(SpecError, match="not finite"):
            policy(np.zeros(3))


@pytest.mark.parametrize(
    "wrong", [[[1, 2], [3]], np.ma.masked_array(np.zeros(3), mask=[True, False, False]), np.zeros((0, 3))]
)
def test_observations_with_holes(wrong: object, clone: sh.Policy) -> None:
    clone.reset()
    with pytest.raises(SteadyhandError):
        clone(wrong)


def test_bfloat16_is_a_number(clone: sh.Policy) -> None:
    clone.reset()
    expected = clone(np.zeros(3))
    clone.reset()
    np.testing.assert_array_equal(clone(torch.zeros(3, dtype=torch.bfloat16)), expected)


def test_options_of_an_env_say_what_is_wrong_with_them() -> None:
    with pytest.raises(ConfigError) as caught:
        sh.make("pendulum", control_dt=-1.0)
    assert "control_dt = -1.0, expected float >= 0.001" in str(caught.value)
    assert "unknown error" not in str(caught.value)
    assert "run.json" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such env"):
        sh.make("")
