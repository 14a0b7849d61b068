"""The listing of the design runs as it is written, at small sizes; and the door is light."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import steadyhand as sh
from steadyhand.core.errors import ConfigError
from steadyhand.data.digests import episodes_digest
from steadyhand.policies.nets.denoising_mlp import DenoisingMLP


def test_the_loop_runs_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    small = {"steps": 4, "batch_size": 8}
    env = sh.make("car", num_rows=4, max_episode_steps=30)
    expert = sh.expert("pure-pursuit", env)
    demos = sh.record(env, expert, labels=100)
    clone = sh.train(demos, head=sh.heads.Flow(net=DenoisingMLP(hidden=(16,))), **small)
    dagger = sh.correct("dagger", env, expert, labels=100, **small)
    print(sh.evaluate(clone, env, starts=6), sh.evaluate(dagger, env, starts=6), sep="\n")
    observation = {name: value[0] for name, value in env.observe(np.arange(1)).items()}
    action = dagger(observation)

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == ["clone", "DAgger"]
    assert all(" of 6 (95 % " in line for line in lines)
    assert demos.num_frames == 100
    assert action.shape == (1,)
    assert action.dtype == np.float32
    assert abs(action[0]) <= 1.0


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys, steadyhand as sh; ours = [n for n in sys.modules if n.startswith('steadyhand')]; "
        "assert ours == ['steadyhand'], ours; assert not {'torch', 'numpy'} & {*sys.modules}; "
        "env = sh.make('car', num_rows=1); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("part", ["experts.LqrExpert", "executors.Receding", "heads.Flow", "envs.CarConfig"])
def test_a_part_is_found_in_its_namespace_first_thing(part: str) -> None:
    space, _, name = part.partition(".")
    code = f"import steadyhand as sh; sh.{part}(); assert '{name}' in dir(sh.{space})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_that_is_listed_is_there() -> None:
    wanted = (
        "make expert train_expert record load_dataset train correct evaluate compare load show "
        "Policy Dataset Episode Env Controller Wrapper Encoder Head "
        "heads encoders remedies gates executors envs experts recipes"
    )
    assert {*sh.__all__} == {*wanted.split()}
    for name in sh.__all__:
        assert getattr(sh, name) is not None
    assert {*sh.__all__} <= {*dir(sh)}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="offers no 'tran'"):
        _ = sh.tran


def test_a_data_set_is_a_sequence_of_episodes_wherever_it_lies(tmp_path: Path) -> None:
    env = sh.make("forks", num_rows=2)
    demos = sh.record(env, sh.expert("auto", env), episodes=3, quiet=True)
    stored = sh.load_dataset(demos.save(tmp_path / "demos"))
    for data in (demos, stored, sh.load_dataset(list(demos))):
        assert isinstance(data, sh.Dataset)
        assert len(data) == len(list(data)) == 3
        assert data[-1].action.tolist() == data.episode(2).action.tolist()
        assert [len(one) for one in data[1:]] == data.lengths[1:].tolist()
        assert repr(data).splitlines()[-1].split()[:3] == ["action", "float32", "continuous"]
    with pytest.raises(IndexError):
        demos[3]


def test_what_is_recorded_in_a_folder_is_there_at_once_the_next_time(tmp_path: Path) -> None:
    env = sh.make("forks", num_rows=2)
    expert = sh.expert("auto", env)
    first = sh.record(env, expert, episodes=2, out=tmp_path / "demos", quiet=True)
    before = (tmp_path / "demos" / "meta" / "info.json").stat().st_mtime_ns
    again = sh.record(env, expert, episodes=2, out=str(tmp_path / "demos"), quiet=True)
    assert episodes_digest(again.episodes()) == episodes_digest(first.episodes())
    assert (tmp_path / "demos" / "meta" / "info.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another question"):
        sh.record(env, expert, episodes=3, out=tmp_path / "demos", quiet=True)


@pytest.mark.parametrize("teach", [sh.train, sh.correct])
def test_help_shows_every_keyword_of_the_learner(teach: Callable[..., object]) -> None:
    shown = inspect.signature(teach).parameters
    assert {"encoder", "head", "recipe", "steps", "horizon", "out", "seed"} <= {*shown}
    assert all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in shown.values())


def test_what_learns_is_said_once() -> None:
    env = sh.make("forks", num_rows=1)
    demos = sh.record(env, sh.expert("auto", env), episodes=2, quiet=True)
    with pytest.raises(ConfigError, match="Two things say"):
        sh.train(demos, recipe="bc_mlp", head="Regression")
    with pytest.raises(ConfigError, match="no such keyword") as caught:
        sh.train(demos, heads="Regression")
    assert "did you mean 'head'" in str(caught.value)
    with pytest.raises(ConfigError, match="Flow"):
        sh.train(demos, head="Flo")
