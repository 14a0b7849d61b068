"""What the command line looks like from outside: its flags, its manners, and how little it imports."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import steadyhand
from steadyhand.cli import record, terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.main import main
from steadyhand.core.parts import load_all, made, name_of
from steadyhand.data.dataset import open_dataset
from steadyhand.envs.car.config import Sense
from steadyhand.envs.catalogue import BUILT_IN, WORLDS
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.policies.encoders.config import EncoderConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.recipes.parts import NEED_MORE, choices_of, kind_named

COMMON = {"--help", "--set", "--seed", "--out"}
LEARNER = {
    "--observation", "--recipe", "--size", "--encoder", "--head", "--n-obs-steps", "--horizon",
    "--n-action-steps", "--steps", "--batch-size", "--learning-rate",
}  # fmt: skip
CORRECT = COMMON | LEARNER | {
    "--expert", "--starts", "--videos", "--no-clone", "--success", "--device", "--threads", "--log",
}  # fmt: skip
FLAGS = {
    "tour": COMMON | {"--overwrite", "--open"},
    "envs": {"--help", "--picture"},
    "record": COMMON | {
        "--expert", "--episodes", "--labels", "--success", "--observation", "--noise", "--family",
        "--video",
    },
    "train": COMMON | LEARNER | {
        "--validation-fraction", "--control-dt", "--config", "--resume", "--rename", "--episodes", "--cache",
        "--from", "--keep", "--device", "--threads", "--precision", "--accumulate", "--classes", "--log",
    },
    "eval": COMMON | {"--env", "--observation", "--expert", "--starts", "--family", "--videos", "--sample"}
    | {"--success"} | {"--mode", "--executor", "--n-action-steps", "--delay", "--mean-of"}
    | {"--device", "--threads"},
    "expert train": COMMON | {"--algorithm", "--steps", "--observation", "--success", "--starts"},
    "expert convert": {"--help", "--out", "--normalization"},
    "correct dagger": CORRECT | {"--labels", "--rounds", "--episodes", "--query-every", "--training"},
    "bench remedies": (COMMON - {"--seed"}) | LEARNER | {
        "--expert", "--starts", "--success", "--only", "--seeds", "--labels", "--rounds", "--episodes",
        "--query-every", "--selection", "--fits", "--search", "--unequal", "--jobs", "--ray",
    },
    "correct noise": CORRECT | {"--labels", "--episodes", "--sigma", "--clean-fraction"},
    "correct ccil": CORRECT | {"--labels", "--rounds", "--episodes"},
    "correct safe-dagger": CORRECT | {"--labels", "--rounds", "--episodes"},
    "correct hg-dagger": CORRECT | {"--labels", "--rounds", "--episodes", "--reaction-delay", "--miss-rate"},
    "runs": {"--help"},
    "show": {"--help", "--open"},
    "data info": {"--help", "--control-dt", "--rename", "--episodes"},
    "data check": {"--help", "--env", "--set", "--depth", "--control-dt", "--rename", "--episodes"},
    "data repair": {
        "--help", "--out", "--shift", "--control-dt", "--rename", "--episodes", "--env", "--set", "--lossy",
    },
    "data compact": {"--help", "--set-damage-aside"},
    "data modes": {"--help", "--control-dt", "--features", "--horizon", "--neighbours", "--states", "--seed"}
    | {"--rename", "--episodes"},
}  # fmt: skip
"""Every flag there is. Scripts depend on them: what is taken away or renamed belongs into the CHANGELOG."""


@pytest.mark.parametrize("verb", FLAGS)
def test_the_flags_of_a_verb_are_these(cli, verb):
    said = cli(*verb.split(), "--help")
    assert said.status == 0
    shown = set(re.findall(r"^[│ ] (?:-h, )?(--[a-z][a-z-]*)", said.out, re.MULTILINE))
    assert shown == FLAGS[verb]
    assert "{None}" not in said.out, "a flag that may be left out shows its plain type"
    assert "STR" not in re.findall(r"usage: .*", said.out)[0], "positional arguments have names"


def test_the_overview_names_every_verb(cli):
    said = cli("--help")
    assert said.status == 0
    for verb in {name.split()[0] for name in FLAGS}:
        assert re.search(rf"^  {verb} ", said.out, re.MULTILINE)
    assert cli().out == said.out
    assert "info | check | repair | compact | modes" in said.out
    assert cli("data").out.count("\n") > 3
    assert "dagger" in cli("correct").out


def modules_of(*words: str) -> set[str]:
    """Return the modules that a command imports, in a process of its own."""
    code = (
        "import json, sys; from steadyhand.cli.main import main; status = main(sys.argv[1:]); "
        "print('\\n' + json.dumps(list(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def imported_by(*words: str) -> set[str]:
    """Return the packages that a command imports."""
    return {name.split(".")[0] for name in modules_of(*words)}


def test_help_imports_next_to_nothing():
    heavy = {"torch", "numpy", "tyro", "rich", "pyarrow", "gymnasium", "matplotlib", "av"}
    assert not imported_by("--help") & heavy
    assert not imported_by("--version") & heavy


HELP = """
import contextlib, io, sys
from steadyhand.cli.main import VERBS, main
WORDS = [[verb] for verb in VERBS if verb != "correct"] + [["bench", "remedies"], ["data", "check"]]
with contextlib.redirect_stdout(io.StringIO()):
    for words in WORDS:
        assert main([*words, "--help"]) == 0
    light = {*sys.modules}
    assert main(["correct", "--help"]) == main(["correct", "dagger", "--help"]) == 0
print(*light, sep=",")
print(*sys.modules, sep=",")
"""


def test_the_help_of_every_verb_imports_settings_and_nothing_that_computes():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    most, with_remedies = ({*line.split(",")} for line in done.stdout.splitlines())
    heavy = {"torch", "av", "pyarrow", "gymnasium", "cattrs", "rich.progress", "steadyhand.envs.car.env"}
    assert not with_remedies & heavy
    assert not most & {"numpy", "jaxtyping", "steadyhand.envs.base", "steadyhand.policies.spec"}


def test_looking_at_data_needs_neither_torch_nor_envs_nor_codecs(cli, tmp_path):
    made = cli("record", "car", "--observation", "state", "--labels", "8", "--out", "demos")
    assert made.status == 0
    demos = str(tmp_path / "demos")
    for words in (("data", "check", demos), ("envs",)):
        assert "torch" not in imported_by(*words), words
    unwanted = {"torch", "av", "gymnasium", "rich.progress", "steadyhand.envs", "steadyhand.data.store"}
    assert not modules_of("data", "info", demos) & unwanted


def test_training_on_data_imports_no_env_no_expert_and_no_remedy(cli, tmp_path):
    assert cli("record", "car", "--observation", "state", "--labels", "40", "--out", "demos").status == 0
    out = str(tmp_path / "clone")
    modules = modules_of("train", str(tmp_path / "demos"), "--steps", "2", "--out", out)
    assert (tmp_path / "clone" / "report.html").is_file()
    for package in ("envs", "experts", "rollout"):
        assert not {name for name in modules if name.startswith(f"steadyhand.{package}")}
    assert {name for name in modules if name.startswith("steadyhand.correction.")} <= {
        "steadyhand.correction.record",  # what reports say of rounds
        "steadyhand.correction.burden",
    }
    assert "gymnasium" not in modules
    assert not {"torch", "numpy", "steadyhand.envs"} & modules_of("show", out, "--help")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], "did you mean 'train'?"),
        (["record", "car"], "--out"),
        (["record", "cra", "--out", "x"], "did you mean 'car'?"),
        (["record", "car", "--out", "x", "--speed", "3"], "--speed"),
        (["record", "car", "--out", "x", "--labels", "many"], "--labels"),
        (["record", "car", "--out", "x", "--labels", "2"], "fewer labels than episodes"),
        (["record", "car", "--out", "x", "--episodes", "0"], "at least one episode"),
        (["record", "car", "--out", "x", "--noise", "-1"], "standard deviation"),
        (["record", "car", "--out", "x", "--observation", "sonar"], "available: state, scan, lidar, retina"),
        (["record", "car", "--out", "x", "--set", "env.road=1"], "available: observation, action, speed"),
        (["record", "car", "--out", "x", "--set", "road=1"], "available: env, expert"),
        (["record", "car", "--out", "x", "--set", "env.speed.x=1"], "env.speed=VALUE"),
        (["record", "car", "--out", "x", "--set", "env.speed"], "path=value"),
        (["record", "car", "--out", "x", "--set", "env.speed=fast"], "got 'fast', expected float"),
        (["record", "car", "--out", "x", "--set", "env.action=fly"], "available: steering, steering_speed"),
        (["record", "car", "--out", "x", "--expert", "me"], "FILE.zip, a folder of a policy"),
        (["record", "car", "--out", "x", "--expert", "me.npz"], "There is no file"),
        (["record", "CartPole-v1", "--out", "x"], "--expert"),
        (["record", "CartPole-v1", "--out", "x", "--observation", "state"], "leave --observation out"),
        (["train"], "steadyhand train DATA"),
        (["train", "nowhere"], "no such folder"),
        (["train", "nowhere.npz"], "nowhere.npz"),
        (["train", "--config", "nowhere.json"], "nowhere.json"),
        (["eval"], "--env"),
        (["eval", "nowhere", "--env", "car"], "no policy in nowhere"),
        (["eval", "--env", "car", "--expert", "none"], "nobody to evaluate"),
        (["eval", "--env", "car", "--starts", "0"], "at least one start"),
        (["eval", "--env", "car", "--sample", "--mode"], "samples or with its mode"),
        (["eval", "--env", "car", "--executor", "ensemble", "--delay", "2"], "predicts at every step"),
        (["correct", "dager", "car"], "did you mean 'dagger'?"),
        (["correct", "dagger"], "ENV"),
        (["correct", "dagger", "car", "--rounds", "0"], "rounds = 0"),
        (["correct", "dagger", "car", "--starts", "0"], "at least one start"),
        (["correct", "noise", "car", "--labels", "2"], "<= num_labels = 2"),
        (["correct", "noise", "car", "--head", "Categorical"], "Regression or Gaussian"),
        (["correct", "iwr", "car", "--query_every=2"], "dagger has it"),
        (["correct", "dagger", "car", "--labels=61"], "multiple of the rounds"),
        (["correct", "noise", "car", "--rounds", "2"], "leave --rounds out; `steadyhand correct noise"),
        (["correct", "crsail", "car", "--miss-rate", "0.1"], "leave --miss-rate out"),
        (["runs"], "steadyhand runs FOLDER"),
        (["show", "nowhere"], "no such folder"),
        (["data", "look"], "available: info, check, repair, compact"),
        (["data", "info", "nowhere"], "no such folder"),
        (["data", "check", "nowhere"], "no such folder"),
        (["data", "compact", "nowhere"], "no such folder"),
        (["envs", "nope:Nope-v0"], "A module of that name is not to be found"),
    ],
)  # fmt: skip
def test_wrong_input_leaves_with_2_says_what_to_do_and_writes_nothing(cli, tmp_path, words, expected):
    said = cli(*words)
    assert said.status == 2
    assert expected in said.err
    assert not said.out
    assert not list(tmp_path.iterdir())


STEPS = "expected: --steps INT: Gradient steps of each fit."
DEVICES = "available: auto, cpu, cuda, mps"


@pytest.mark.parametrize("drawn", [(), ("_FORCE_UTF8_BOXES",), ("_FORCE_ANSI", "_FORCE_UTF8_BOXES")])
@pytest.mark.parametrize(
    ("words", "what", "others"),
    [
        (["train", "x", "--stepss", "3"], "There is no such option.", ["got: --stepss, 3", STEPS]),
        (["train", "x", "--steps", "few"], "--steps takes no such value.", ["got: few", STEPS]),
        (["data", "modes", "x", "--horizon", "1.5"], "--horizon takes no such value.", ["got: 1.5"]),
        (["train", "x", "--device", "gpu"], "--device takes no such value.", ["got: gpu", DEVICES]),
        (["train", "x", "--log", "trakio"], "--log takes no such value.", ["did you mean 'trackio'?"]),
        (["data", "repair", "x", "--out", "y", "--shift", "4"], "--shift takes no", ["available: -1, 0, 1"]),
        (["eval", "x", "--env"], "--env lacks its value.", ["`steadyhand eval --help` lists what it takes"]),
        (["correct", "dagger"], "ENV is missing.", ["expected: ENV: The env: car, forks, avoiding"]),
        (["record"], "ENV and --out are missing.", ["`steadyhand record --help` lists"]),
    ],
)
def test_flags_that_cannot_be_read_are_refused_like_everything_else(  # noqa: PLR0917
    cli, monkeypatch, words, what, others, drawn
):
    for how in drawn:
        monkeypatch.setattr(f"tyro._fmtlib.{how}", True)
    lines = cli(*words).err.splitlines()
    assert lines[0].startswith(f"error: {what}")
    said = [" ".join(line.split()) for line in lines]
    for other in others:
        assert any(other in line for line in said), (other, said)
    assert all(re.match("  (got|expected|available|do this):", line) for line in lines[1:])
    assert not re.search("[\u2500-\u257f\x1b]", "".join(lines))


@pytest.mark.parametrize(
    ("env", "success", "action"),
    [
        ("car", "on the road until the time limit", "from -1 to 1"),
        ("Pendulum-v1", "this env does not tell it", "from -2 to 2"),
        ("CartPole-v1", "the episode lasted until the time limit", "discrete, 2 values, 0 to 1"),
        ("linear", "a state of norm below 0.1", "without bounds"),
    ],
)
def test_an_env_is_described_with_its_success_and_its_actions(cli, env, success, action):
    said = cli("envs", env)
    assert said.status == 0
    assert f"success: {success}" in said.out
    assert f"action: {action}\n" in said.out


def test_a_misspelt_env_is_answered_with_every_env_once(cli):
    said = cli("record", "cra", "--out", "x")
    line = next(line for line in said.err.splitlines() if "available:" in line)
    names = line.split("available:")[1].strip().split(", ")
    assert names.count("car") == 1
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "words", [["tour"], ["record"], ["train"], ["eval"], ["correct", "dagger"], ["data", "modes"]]
)
def test_help_fits_a_terminal_of_80_columns(cli, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    said = cli(*words, "--help").out
    assert all(len(line) <= 80 for line in said.splitlines() if not line.startswith(("usage:", "example:")))


LISTED = {
    "ENV": [*BUILT_IN, *WORLDS],
    "--env": [*BUILT_IN, *WORLDS],
    "--expert": [
        "pure-pursuit",
        "delayed",
        "forks",
        "avoiding",
        "tabletop",
        "metaworld",
        "fetch",
        "aloha",
        "swing-up",
        "dynamic-programming",
    ],
    "--observation": list(get_args(Sense)),
    "--executor": ["receding", "ensemble", "real-time"],
    "--encoder": list(EncoderConfig.ours),
    "--head": list(HeadConfig.ours),
    "--recipe": [
        "bc_mlp",
        "bc_rnn_gmm",
        "act",
        "bet",
        "diffusion_unet",
        "diffusion_transformer",
        "flow_unet",
        "mip",
        "pilotnet",
        "alvinn",
        "alvinn_1989",
    ],
}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["record"], "ENV --expert --observation"),
        (["eval"], "--env --expert --observation --executor"),
        (["correct", "ccil"], "ENV --expert --observation --encoder --head --recipe"),
        (["bench", "remedies"], "ENV --expert --observation --encoder --head --recipe"),
        (["train"], "--encoder --head --recipe"),
    ],
)
def test_the_help_of_a_verb_lists_the_choices_of_its_flags(cli, words, flags):
    said = " ".join(re.sub("[│\n]", " ", cli(*words, "--help").out).split())
    for flag in flags.split():
        text = re.split(rf"[^[]{flag} (?=[A-Z])", said)[-1].partition(" --")[0]
        assert ", ".join(LISTED[flag]) in text, flag


@pytest.mark.parametrize("kind", ["env", "expert", "executor", "encoder", "head", "recipe"])
def test_what_the_help_lists_can_be_made_by_name_alone(kind):
    base = kind_named(kind)
    made_alone = [made(base, name) for name in choices_of(kind) if ":" not in name]
    others = {part.__name__ for part in load_all(base) if ":" not in name_of(part)} - {
        type(part).__name__ for part in made_alone
    }
    assert others <= {*NEED_MORE}


def test_the_package_is_the_command_as_well() -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "steadyhand", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"steadyhand {steadyhand.__version__}\n"


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"observation": np.zeros((40, 24, 24, 3), np.uint8)}, "not replayed: Pictures are not compared"),
        ({"observation": np.full((40, 3), np.nan)}, "not replayed: there are errors"),
        (
            {"observation.camera": np.zeros((40, 24, 24, 3), np.uint8), "observation": np.eye(40, 3)},
            "not compared",
        ),
    ],
    ids=["pictures alone", "errors", "pictures too"],
)
def test_what_check_does_not_replay_is_said(cli, arrays, why, tmp_path):
    action = np.random.default_rng(0).uniform(-1, 1, (40, 1))
    np.savez(tmp_path / "d.npz", action=action, episode_ends=[20, 40], **arrays)
    said = cli("data", "check", "d.npz", "--env", "pendulum")
    assert why in " ".join((said.out + said.err).split())


@pytest.mark.parametrize("late", [1, -1])
def test_the_repair_that_check_advises_runs_as_it_is_printed(cli, late, tmp_path):
    env = PendulumConfig().build(1)
    row = np.arange(1)
    env.reset(env.starts("train", 1), row)
    seen, done = [], []
    for _ in range(40):
        seen.append(env.observe(row)["observation.state"][0])
        done.append(np.random.default_rng(len(seen)).uniform(-3, 3, 1).astype(np.float32))
        env.step(done[-1][None], row)
    state, action = (seen[1:], done[:-1]) if late > 0 else (seen[:-1], done[1:])
    np.savez(tmp_path / "my data.npz", observation=state, action=action, episode_ends=[39])
    said = cli("data", "check", "my data.npz", "--env", "pendulum")
    assert said.status == 1
    command = re.search(r"steadyhand (data repair .*? --shift \S+)", " ".join((said.out + said.err).split()))
    assert command is not None
    assert cli(*shlex.split(command[1])).status == 0
    assert cli("data", "check", "NEW", "--env", "pendulum").status == 0
    assert open_dataset(tmp_path / "NEW").control_dt == pytest.approx(0.02)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not there")
def test_the_documented_completion_completes_verbs_and_flags():
    page = Path(__file__).parents[3] / "docs" / "start.md"
    (script,) = re.findall(r"```bash\n(_steadyhand.*?)```", page.read_text(), re.DOTALL)
    command = f'steadyhand() {{ {shlex.quote(sys.executable)} -m steadyhand "$@"; }}\n'
    for words, expected in (
        (("steadyhand", "tr"), ["train"]),
        (("steadyhand", "show", "--op"), ["--open"]),
        (("steadyhand", "data", "repair", "--sh"), ["--shift"]),
    ):
        typed = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _steadyhand\n"
        shown = 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", command + script + typed + shown], capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == expected


def test_an_env_is_drawn_to_a_file(cli, tmp_path):
    said = cli("envs", "forks", "--picture", tmp_path / "forks.png")
    assert said.status == 0
    with Image.open(tmp_path / "forks.png") as drawn:
        assert drawn.size == (640, 480)
    linear = cli("envs", "linear", "--picture", tmp_path / "linear.png")
    assert linear.status == 1
    assert "no picture" in linear.out
    assert not (tmp_path / "linear.png").exists()


@pytest.mark.parametrize(
    "words", [["--picture", "a.png"], ["forks", "--picture", "a.txt"], ["forks", "--picture", "no/a.png"]]
)
def test_a_picture_of_nothing_or_to_no_png_is_refused(cli, words):
    said = cli("envs", *words)
    assert said.status == 2
    assert "A picture needs an env" in said.err
    assert said.out == ""


def test_a_picture_in_the_terminal_shows_two_pixels_a_character(monkeypatch):
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, color_system="truecolor", width=4)
    monkeypatch.setattr(terminal, "console", console)
    assert terminal.shows_pictures()
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[1] = (255, 0, 0)
    terminal.picture(pixels)
    first, second = said.getvalue().splitlines()
    assert first.count("\u2580") == second.count("\u2580") == 4
    assert "38;2;0;0;0" in first
    assert "48;2;255;0;0" in first
    assert "255" not in second


def test_envs_are_listed_with_their_experts(cli):
    lines = cli("envs").out.splitlines()
    names = {*BUILT_IN, *WORLDS}
    expert = {line.split()[0]: line.split()[1] for line in lines if line and line.split()[0] in names}
    assert expert["forks"] == "forks"
    assert expert["car"] == "pure-pursuit"
    assert expert["metaworld"] == "metaworld"
    assert expert.keys() == names


@pytest.mark.parametrize(
    "twice",
    [
        ["--observation", "state", "--observation", "camera"],
        ["--observation=state", "objects", "--observation", "camera"],
        ["--episodes", "2", "--episodes", "3"],
    ],
)
def test_what_is_said_twice_is_not_dropped_without_a_word(twice, tmp_path, capsys):
    assert main(["record", "tabletop", "--out", str(tmp_path / "demos"), *twice]) == 2
    assert f"{twice[0].partition('=')[0]} is given 2 times" in capsys.readouterr().err
    assert not (tmp_path / "demos").exists()


def test_set_may_be_said_many_times():
    said = ["car", "--out", "demos", "--set", "num_episodes=2", "--set", "seed=3"]
    assert parse(record.Arguments, said, verb="record").set == ("num_episodes=2", "seed=3")
