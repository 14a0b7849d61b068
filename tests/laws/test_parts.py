"""Laws of open parts: whose they are, what they are called on disk, and that no file imports anything."""

import importlib
import json
import pkgutil
import subprocess
import sys
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import steadyhand
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import (
    Part,
    chosen,
    made,
    members,
    name_of,
    qualified,
    require_part,
    resolved,
    spoken_name,
    summary,
)
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder
from steadyhand.policies.encoders.image import SmallConv
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.parts import KINDS, kind_named, settings_of

ALL: list[type[Part]] = [kind_named(name) for name in KINDS]


@dataclass(frozen=True, kw_only=True)
class Fourier(EncoderConfig):
    """An encoder that steadyhand has never heard of."""

    width: int = 8

    def readable(self, observation):
        return tuple(observation)

    def build(self, observation, *, n_obs_steps):
        raise NotImplementedError


PACKAGE = """
from dataclasses import dataclass
from steadyhand.policies.encoders.config import EncoderConfig

@dataclass(frozen=True, kw_only=True)
class Fourier(EncoderConfig):
    width: int = 8
    def readable(self, observation): return tuple(observation)
    def build(self, observation, *, n_obs_steps): raise NotImplementedError

@dataclass(frozen=True, kw_only=True)
class Wants(Fourier):
    depth: int

@dataclass(frozen=True, kw_only=True)
class Unwritten(EncoderConfig): ...

def function(): ...
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return the name of a module that can be imported and has not been."""
    name = f"foreign_{abs(hash(tmp_path)) % 10**9}"
    (tmp_path / f"{name}.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    sys.modules.pop(name, None)


def installed(folder: Path, text: str) -> None:
    """Declare entry points as an installed package does."""
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[steadyhand.parts]\n{text}\n")


def written(name: str, **fields: Any) -> dict[str, Any]:
    data = to_data(PolicyConfig(encoder=StateMLP()))
    return {**data, "encoder": {"type": name, **fields}}


@pytest.mark.parametrize("kind", ALL)
def test_the_table_of_ours_names_exactly_our_members(kind):
    for module in pkgutil.walk_packages(steadyhand.__path__, "steadyhand."):
        if not module.name.startswith(("steadyhand.cli", "steadyhand.testing", "steadyhand.__main__")):
            importlib.import_module(module.name)
    ours = {qualified(one) for one in members(kind) if one.__module__.startswith("steadyhand.")}
    assert ours == set(kind.ours.values())
    assert all(place.endswith(f":{name}") for name, place in kind.ours.items())
    for name in kind.ours:
        assert name_of(resolved(kind, name)) == name
        assert is_dataclass(resolved(kind, name))


@pytest.mark.parametrize("kind", ALL)
def test_every_part_says_what_it_is_and_what_each_setting_is(kind):
    for part in (resolved(kind, name) for name in kind.ours):
        assert summary(part)
        assert not [one.name for one in settings_of(part) if not one.text]


def test_a_kind_is_listed_under_its_own_name():
    assert list(KINDS) == [kind.kind for kind in ALL]


@pytest.mark.parametrize(
    ("kind", "name", "spoken"),
    [
        ("expert", "PurePursuitExpert", "pure-pursuit"),
        ("env", "CarConfig", "car"),
        ("executor", "RealTime", "real-time"),
        ("expert", "LqrExpert", "lqr"),
    ],
)
def test_what_a_person_calls_a_part_finds_it(kind, name, spoken):
    part = resolved(kind_named(kind), name)
    assert spoken_name(kind_named(kind), part) == spoken
    assert chosen(kind_named(kind), spoken) is part
    assert spoken_name(EncoderConfig, Fourier) == f"{__name__}:Fourier"


def test_parts_of_ours_have_short_names_on_disk_and_others_say_where_they_are_from():
    data = to_data(PolicyConfig(encoder=Fourier(width=3), head=Regression()))
    assert data["encoder"] == {"type": f"{__name__}:Fourier", "width": 3}
    assert data["head"] == {"type": "Regression", "error": "mse", "hidden": [], "activation": "relu"}
    assert from_data(json.loads(json.dumps(data)), PolicyConfig) == PolicyConfig(encoder=Fourier(width=3))


def test_none_stays_none():
    assert to_data(PolicyConfig())["encoder"] is None
    assert from_data(to_data(PolicyConfig()), PolicyConfig).encoder is None


@pytest.mark.parametrize(
    "name",
    ["os:system", "antigravity:x", "this:Zen", "json.tool:main", "antigravity", "", "subprocess:Popen"],
)
def test_a_file_never_imports(name):
    with pytest.raises(ConfigError):
        from_data(written("nobody"), PolicyConfig)  # the machinery that looks for installed parts
    before = set(sys.modules)
    with pytest.raises(ConfigError) as caught:
        from_data(written(name), PolicyConfig, source="run.json")
    assert set(sys.modules) == before
    assert f"type {name!r}, available: StateMLP" in str(caught.value)


def test_a_file_does_not_import_a_part_that_could_be_found(package):
    with pytest.raises(ConfigError) as caught:
        from_data(written(f"{package}:Fourier", width=3), PolicyConfig)
    assert package not in sys.modules
    assert f"import {package} first (on the command line --plugin {package})" in str(caught.value)
    assert "parts=[Fourier]" in str(caught.value)
    module = importlib.import_module(package)
    assert from_data(written(f"{package}:Fourier", width=3), PolicyConfig).encoder == module.Fourier(width=3)


def test_what_is_handed_over_may_have_moved():
    for name in ("__main__:Fourier", "elsewhere.enc:Fourier", "Fourier"):
        config = from_data(written(name, width=5), PolicyConfig, parts=[Fourier])
        assert config.encoder == Fourier(width=5)
    with pytest.raises(ConfigError, match=r"parts=\[Fourier\], or move it"):
        from_data(written("__main__:Fourier", width=5), PolicyConfig)


def test_an_installed_part_is_found_by_the_name_that_its_package_declares(package, tmp_path):
    installed(tmp_path, f"wave = {package}:Fourier")
    with pytest.raises(ConfigError):
        from_data(written(f"{package}:function"), PolicyConfig)
    assert package not in sys.modules
    config = from_data(written(f"{package}:Fourier", width=2), PolicyConfig)
    assert config.encoder == sys.modules[package].Fourier(width=2)
    assert made(EncoderConfig, "wave") == sys.modules[package].Fourier()
    with pytest.raises(ConfigError, match="type 'wave'"):  # that name is for people
        from_data(written("wave"), PolicyConfig)
    with pytest.raises(ConfigError, match="no head of that name"):
        made(HeadConfig, "wave")


def test_what_a_person_names_is_imported(package):
    assert made(EncoderConfig, f"{package}:Fourier") == sys.modules[package].Fourier()
    assert chosen(EncoderConfig, "StateMLP") is StateMLP


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{package}:Nothing", "no such encoder"),
        ("{package}:Unwritten", "the methods build, readable"),
        ("{package}:function", "a frozen dataclass that derives from EncoderConfig"),
        ("{package}:Wants", "settings without a default"),
        ("not_to_be_found_anywhere:Fourier", "not to be found"),
        ("../above:Fourier", "named as it is imported"),
        ("/absolute/file.py:Fourier", "named as it is imported"),
        ("StateMPL", "did you mean 'StateMLP'"),
    ],
)
def test_what_a_person_names_wrongly_is_refused(package, name, words):
    with pytest.raises(ConfigError, match=words):
        made(EncoderConfig, name.format(package=package))


def test_a_base_class_that_narrows_a_kind_narrows_the_field():
    data = to_data(Recurrent(images=SmallConv()))
    assert data["images"]["type"] == "SmallConv"
    assert from_data(data, Recurrent) == Recurrent(images=SmallConv())
    with pytest.raises(ConfigError, match="PictureEncoder"):
        from_data({**data, "images": {"type": "FlatImage"}}, Recurrent)
    assert issubclass(SmallConv, PictureEncoder)


class Forgotten(EncoderConfig):
    """An encoder whose author forgot that settings are a dataclass."""

    def readable(self, observation):
        return tuple(observation)

    def build(self, observation, *, n_obs_steps):
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Unrelated:
    """Settings that derive from nothing."""


@pytest.mark.parametrize(
    ("encoder", "advice"),
    [
        (Unrelated(), r"class Unrelated\(EncoderConfig\)"),
        (Regression(), r"class Regression\(EncoderConfig\)"),
        (Fourier, r"Fourier\(\)"),
        (Forgotten(), "@dataclass"),
    ],
)
def test_what_could_never_be_loaded_is_refused_before_it_is_trained(encoder, advice):
    with pytest.raises(ConfigError, match=advice):
        require_part(EncoderConfig, encoder)


def test_the_latest_definition_counts():
    """A notebook's cell that is run again defines its class again."""
    namespace: dict[str, Any] = {"__name__": "notebook"}
    exec(PACKAGE, namespace)
    exec(PACKAGE, namespace)
    assert resolved(EncoderConfig, "notebook:Fourier") is namespace["Fourier"]


def test_a_plugin_on_the_command_line_makes_a_file_readable(package, tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "steadyhand", "envs", f"--plugin={package}", "car"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    wrong = subprocess.run(
        [sys.executable, "-m", "steadyhand", "envs", "--plugin", "not_to_be_found_anywhere"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert "not_to_be_found_anywhere" in wrong.stderr


def test_settings_need_no_torch():
    """In a process of its own: all parts of ours, and what a run.json holds of a policy."""
    code = """
import sys
from steadyhand.core.parts import load_all, resolved
from steadyhand.recipes.parts import KINDS, kind_named
from steadyhand.policies.spec import PolicyConfig
from steadyhand.training.config import TrainConfig
for name in KINDS:
    kind = kind_named(name)
    for part in kind.ours:
        resolved(kind, part)
        if "torch" in sys.modules:
            sys.exit(f"{name} {part} imports torch")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
