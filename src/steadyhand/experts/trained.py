"""The experts that were trained by reinforcement learning and come along with Gymnasium's envs."""

from pathlib import Path

from steadyhand.core.errors import CapabilityError

_FOLDER = Path(__file__).parent / "actors"


def trained_ids() -> tuple[str, ...]:
    """Return the ids of the envs that a trained expert comes along with."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.safetensors")))


def is_trained(env_id: str) -> bool:
    """Whether a trained expert comes along with an env."""
    return env_id.rpartition(":")[2] in trained_ids()


def trained_actor(env_id: str) -> Path:
    """Return the file of the actor that was trained for an env.

    Raises:
        CapabilityError: None was.
    """
    if not is_trained(env_id):
        raise CapabilityError(
            "No trained expert comes along with this env.",
            got=env_id,
            available=trained_ids(),
            hint=f"train one: steadyhand expert train {env_id}",
        )
    return _FOLDER / f"{env_id.rpartition(':')[2]}.safetensors"
