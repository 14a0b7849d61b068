"""A package of somebody else, installed beside ours: its parts do what ours do, in Python and in a shell."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import steadyhand as sh
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ArtifactError
from steadyhand.core.parts import made, members
from steadyhand.correction.gate import GateConfig
from steadyhand.correction.noise import ActionNoise
from steadyhand.correction.remedy import Remedy
from steadyhand.envs import make
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.recipes.config import RecipeConfig
from steadyhand.recipes.remedies import remedy
from steadyhand.recipes.runs import CorrectRun, RecordRun
from steadyhand.testing import LawLeftOut, Place, check_correction, check_encoder, check_head, small

PACKAGE = Path(__file__).parents[2] / "foreign_package"
PARTS = {
    "fourier": EncoderConfig,
    "laplace": HeadConfig,
    "imle": HeadConfig,
    "reach": EnvConfig,
    "straight": ExpertConfig,
    "far": GateConfig,
    "bursts": ActionNoise,
    "many": Remedy,
    "waves": RecipeConfig,
}
BRIEF = ("--steps", "30", "--batch-size", "16", "--encoder", "fourier", "--head", "laplace")


@pytest.fixture(scope="module", autouse=True)
def site(tmp_path_factory: pytest.TempPathFactory):
    """Install the package, as pip leaves it: on the path, with its entry points beside it."""
    folder = tmp_path_factory.mktemp("site")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = folder / "my_robot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = project["entry-points"]["steadyhand.parts"]
    lines = ["[steadyhand.parts]", *(f"{name} = {place}" for name, place in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / "my_robot").symlink_to(PACKAGE / "src" / "my_robot")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def runs(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record, train and correct with nothing but foreign parts, each named on the command line."""
    folder = tmp_path_factory.mktemp("runs")
    correct = ("--labels", "80", "--rounds", "2", "--episodes", "4", "--starts", "4")
    commands = [
        ("record", "reach", "--expert", "straight", "--labels", "120", "--out", "demos"),
        ("train", "demos", "--out", "clone", "--horizon", "2", "--n-obs-steps", "2", *BRIEF),
        ("eval", "clone", "--env", "reach", "--out", "eval", "--starts", "4", "--videos", "0"),
        ("correct", "dagger", "reach", "--out", "dagger", "--videos", "0", *correct, *BRIEF),
    ]
    for words in commands:
        shell(site, folder, *words)
    return folder


def shell(site: Path, folder: Path, *words: str) -> str:
    """Run the command in a process of its own, and return what it said."""
    path = os.pathsep.join([str(site), *(one for one in sys.path if one)])
    done = subprocess.run(
        [sys.executable, "-m", "steadyhand", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_part_is_found_by_the_name_that_the_package_gave_it():
    for name, kind in PARTS.items():
        assert type(made(kind, name)) in members(kind)
        assert type(made(kind, name)).__module__.startswith("my_robot.")


def test_the_help_lists_the_parts_of_an_installed_package_under_their_own_kind(site: Path, tmp_path: Path):
    said = " ".join(shell(site, tmp_path, "train", "--help").replace("\u2502", " ").split())
    flags = {part.split()[0]: part for part in said.split(" --")}
    assert "CausalTransformer, ObjectTransformer, fourier, or module:Class" in flags["encoder"]
    assert "Judging, laplace, imle, or module:Class" in flags["head"]
    assert "alvinn_1989, waves, or module:Class" in flags["recipe"]


def test_foreign_parts_are_recorded_trained_corrected_and_compared(runs: Path):
    policy = json.loads((runs / "clone" / "policy" / "policy.json").read_text())["config"]
    assert policy["encoder"] == {"type": "my_robot.encoder:Fourier", "width": 32}
    assert policy["head"] == {"type": "my_robot.head:Laplace", "min_width": 0.01}
    run = json.loads((runs / "dagger" / "run.json").read_text())
    assert run["env"]["type"] == "my_robot.env:ReachConfig"
    assert run["expert"]["type"] == "my_robot.expert:StraightExpert"
    result = json.loads((runs / "dagger" / "report.json").read_text())
    assert "dagger" in json.dumps(result)


LOAD = """
import sys
from pathlib import Path
import torch
from steadyhand.core.errors import ArtifactError
from steadyhand.policies.artifact import load_policy
assert "my_robot" not in sys.modules
try:
    policy = load_policy(Path(sys.argv[1]))
except ArtifactError as error:
    print(error)
else:
    seen = {"observation.state": torch.tensor([[[0.3, -0.2], [0.2, -0.1]]])}
    print(policy.predict_chunk(seen, torch.zeros(1, 2, dtype=torch.bool)).tolist())
print("my_robot" in sys.modules)
"""


def loaded_elsewhere(policy: Path, *, site: Path | None) -> list[str]:
    """Load a policy in a fresh process, with the package or without, and return the lines that it said."""
    path = [str(site)] if site is not None else []
    path += [one for one in sys.path if one and not (Path(one) / "my_robot").exists()]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(policy)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_list_of_parts_says_whose_they_are(site: Path, tmp_path: Path):
    lines = shell(site, tmp_path, "parts", "head").splitlines()
    line = next(line for line in lines if "my_robot.head:Laplace" in line)
    assert line.split()[-1] == "my_robot"
    assert "min_width" in shell(site, tmp_path, "parts", "head", "laplace")


def test_a_fresh_process_loads_what_was_trained(site: Path, runs: Path):
    import torch

    said, imported = loaded_elsewhere(runs / "clone" / "policy", site=site)
    policy = load_policy(runs / "clone" / "policy")
    seen = {"observation.state": torch.tensor([[[0.3, -0.2], [0.2, -0.1]]])}
    assert json.loads(said) == policy.predict_chunk(seen, torch.zeros(1, 2, dtype=torch.bool)).tolist()
    assert imported == "True"


def test_without_the_package_the_file_says_what_is_missing_and_runs_nothing(runs: Path):
    *said, imported = loaded_elsewhere(runs / "clone" / "policy", site=None)
    assert "import my_robot.encoder first (on the command line --plugin my_robot.encoder)" in "".join(said)
    assert imported == "False"


@pytest.mark.parametrize("recipe", ["waves", "my_robot.recipe:WavesRecipe"])
def test_a_foreign_recipe_trains_in_a_shell_as_in_python(cli, runs: Path, tmp_path: Path, recipe: str):
    demos = str(runs / "demos")
    said = cli("train", demos, "--recipe", recipe, "--out", "waves", "--device", "cpu")
    assert said.status == 0, said.err
    policy = sh.train(demos, recipe=recipe, quiet=True)
    assert policy.name == "my_robot.recipe:WavesRecipe"
    seen = {"state": np.array([0.3, -0.2], np.float32)}
    assert np.array_equal(policy(seen), sh.load(tmp_path / "waves")(seen))
    wide = type(made(RecipeConfig, "waves"))(width=20)
    assert sh.train(demos, recipe=wide, steps=2, quiet=True).config.encoder.width == 20
    sized = cli("train", demos, "--recipe", recipe, "--size", "paper", "--out", "x")
    assert (sized.status, "not every one" in sized.err) == (2, True)


def test_foreign_gates_and_noises_are_written_and_read():
    run = RecordRun(env=made(EnvConfig, "reach"), expert=made(ExpertConfig, "straight"))
    data = to_data(run)
    data["noise"] = {"type": "my_robot.noise:Bursts", "sigma": 0.2, "level": 1.0}
    noise = from_data(data, RecordRun).noise
    assert noise is not None
    assert np.abs(noise.scaled(np.array([[0.5, 2.0]]))).tolist() == [[0.0, 0.4]]
    correct = to_data(CorrectRun(method=small(remedy("hg-dagger"))))
    correct["method"]["gate"] = {"type": "my_robot.gate:FarGate", "distance": 0.3}
    assert from_data(correct, CorrectRun).method.gate == type(made(GateConfig, "far"))(distance=0.3)


@pytest.mark.parametrize(
    ("remedy", "settings", "written"),
    [
        (
            "hg-dagger",
            ("--rounds", "2", "--set", "method.gate.type=far", "--set", "method.gate.distance=0.5"),
            {"gate": {"type": "my_robot.gate:FarGate", "distance": 0.5}},
        ),
        (
            "noise",
            ("--set", "method.noise.type=my_robot.noise:Bursts", "--set", "method.noise.sigma=0.05"),
            {"noise": {"type": "my_robot.noise:Bursts", "sigma": 0.05, "level": 1.0}},
        ),
        ("many-starts", ("--set", "method.factor=3"), {"type": "my_robot.remedy:ManyStarts", "factor": 3}),
    ],
)
def test_foreign_gates_noises_and_remedies_correct_on_the_command_line(
    cli, tmp_path: Path, remedy: str, settings: tuple[str, ...], written: dict[str, object]
):
    brief = (
        "--labels",
        "40",
        "--episodes",
        "4",
        "--starts",
        "4",
        "--videos",
        "0",
        "--steps",
        "10",
        *BRIEF[2:],
    )
    said = cli("correct", remedy, "reach", "--out", "run", *brief, *settings)
    assert said.status == 0, said.err
    method = json.loads((tmp_path / "run" / "run.json").read_text())["method"]
    assert {name: method[name] for name in written} == written
    again = cli("correct", remedy, "reach", "--out", "run", *brief, *settings)
    assert again.status == 0, again.err
    policy = sh.load(tmp_path / "run")
    assert type(policy.config.head).__module__ == "my_robot.head"
    far = policy({"state": np.array([0.9, -0.9], np.float32)})
    assert np.abs(far).max() <= 0.2


def test_a_foreign_gate_corrects_a_foreign_policy(tmp_path: Path):
    from dataclasses import replace

    env = make("reach", num_rows=4, max_episode_steps=8)
    place = Place(env=env, expert=made(ExpertConfig, "straight").build(env))
    method = replace(small(remedy("hg-dagger")), gate=made(GateConfig, "far"))
    taught = check_correction(method, made(HeadConfig, "laplace"), folder=tmp_path, place=place)
    assert taught is not None


def test_a_foreign_remedy_teaches_and_has_a_name_everywhere(site: Path, tmp_path: Path):
    mine = small(remedy("many-starts"))
    run = CorrectRun(method=mine)
    assert to_data(run)["method"]["type"] == "my_robot.remedy:ManyStarts"
    assert from_data(to_data(run), CorrectRun) == run
    env = make("reach", num_rows=4, max_episode_steps=8)
    place = Place(env=env, expert=made(ExpertConfig, "straight").build(env))
    taught = check_correction(mine, made(HeadConfig, "laplace"), folder=tmp_path, place=place)
    assert taught.name == "many starts"
    assert taught.burden.episodes == 24 // 2 > mine.num_episodes, (
        "24 labels in twice as many drives are 2 steps each"
    )
    assert "  many-starts      let the expert begin more often" in shell(site, tmp_path, "correct", "--help")
    assert "many starts: let the" in shell(site, tmp_path, "correct", "my_robot.remedy:ManyStarts", "--help")


def test_the_batteries_take_foreign_parts():
    assert check_encoder(made(EncoderConfig, "fourier")) == {}
    assert check_head(made(HeadConfig, "laplace")) == {}


def test_a_head_that_only_recalls_says_what_it_is_exempt_from():
    (imle,) = type(made(HeadConfig, "imle")).toys()
    with pytest.warns(LawLeftOut, match=r"not checked: memorises \(only the nearest of several samples"):
        left_out = check_head(imle)
    assert left_out == imle.exempt


def test_a_part_that_cannot_be_read_back_fails_the_battery():
    """The laws of saving and loading are part of the battery."""
    from dataclasses import dataclass

    fourier = type(made(EncoderConfig, "fourier"))

    @dataclass(frozen=True, kw_only=True)
    class Hoarder(fourier):
        """Keeps what JSON cannot hold."""

        table: object = None

    with pytest.raises((ArtifactError, TypeError, AssertionError)):
        check_encoder(Hoarder(table=object()))
