"""A model of Stable-Baselines3 as an expert, as an object or from the file that it was saved to."""

import json
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

from steadyhand.core.errors import ArtifactError, CapabilityError
from steadyhand.core.strict import require_file
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.function import function_expert
from steadyhand.experts.network import CallableExpert

_PACKAGE = "stable_baselines3"
_BY_MODULE = {"sac": "SAC", "td3": "TD3", "dqn": "DQN"}
"""Where a policy class lies -> the algorithm; those in `common` are PPO's and A2C's, which predict alike."""


def model_expert(model: Any, env: BatchEnv, *, feature: str = "") -> CallableExpert:
    """Return a model with SB3's `predict` as an expert, which answers with its mode.

    Args:
        model: Anything whose `predict(observation, deterministic=True)` returns (action, state).
        env: The env that it is to act in.
        feature: Which feature it reads; see `function_expert`.

    Raises:
        SpecError: It does not fit the env.
    """

    def predict(observation: Any) -> Any:
        return model.predict(observation, deterministic=True)[0]

    predict.__name__ = type(model).__name__
    return function_expert(predict, env, feature=feature)


def load_model(path: Path) -> Any:
    """Load a model that SB3 saved, by SB3.

    SB3 unpickles what is in the file, which can run any code: load only files that you trust.

    Raises:
        CapabilityError: SB3 is not installed.
        ArtifactError: It is no such file.
    """
    require_file(path, error=ArtifactError)
    name = _algorithm(path)
    try:
        package = import_module(_PACKAGE)
    except ImportError as error:
        raise CapabilityError(
            "Stable-Baselines3 is not installed.",
            got=f"{path}, a model of {name}",
            hint='pip install "steadyhand[rl]"',
        ) from error
    try:
        return getattr(package, name).load(path, device="cpu")
    except Exception as error:
        raise ArtifactError(
            f"Stable-Baselines3 cannot load {path} as {name}.", got=f"{type(error).__name__}: {error}"
        ) from error


def _algorithm(path: Path) -> str:
    """Return the class of the model, as the JSON in the file says it; nothing is unpickled for that."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
        module = str(data["policy_class"]["__module__"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} is no model of Stable-Baselines3.",
            got=f"{type(error).__name__}: {error}",
            expected="a file that model.save(...) wrote",
        ) from error
    part = module.removeprefix(f"{_PACKAGE}.").partition(".")[0]
    if part == "common":
        return "PPO" if "clip_range" in data else "A2C"
    if part not in _BY_MODULE:
        raise ArtifactError(
            f"{path} holds a model of an algorithm that is not known here.",
            got=module,
            available=["A2C", "PPO", *_BY_MODULE.values()],
            hint="load the model yourself, and give the object",
        )
    return _BY_MODULE[part]
