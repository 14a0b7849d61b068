"""A trained policy on disk: JSON and safetensors, read without running anybody's code.

policy.json            format, version, config with tags, features with shapes and units, control_dt
weights.safetensors    parameters and other buffers
stats.safetensors      the normaliser's offsets and scales
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steadyhand.core.codec import from_data, read_json, to_data, write_json
from steadyhand.core.errors import ArtifactError, ConfigError
from steadyhand.policies.contract import Head
from steadyhand.policies.nets.pretrained import without_pretrained
from steadyhand.policies.policy import Policy
from steadyhand.policies.spec import PolicyConfig, PolicySpec

FORMAT = "steadyhand.policy"
VERSION = 1
_STATISTICS = "normaliser."


def save_policy(policy: Policy, folder: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a policy, replacing what is there; no reader ever sees half of one.

    Args:
        policy: The policy; on any device.
        folder: Where; parents are made.
        extra: JSON data to keep beside it, such as where it was trained and what it scored.

    Raises:
        ArtifactError: Two of its tensors share memory, so that they could not be told apart on disk.
    """
    state = tensors_of(policy)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(
        {name: value for name, value in state.items() if not name.startswith(_STATISTICS)},
        temporary / "weights.safetensors",
    )
    save_file(
        {name: value for name, value in state.items() if name.startswith(_STATISTICS)},
        temporary / "stats.safetensors",
    )
    write_json(
        temporary / "policy.json",
        {
            "format": FORMAT,
            "version": VERSION,
            "config": to_data(policy.config),
            "spec": to_data(policy.spec),
            "extra": dict(extra or {}),
        },
    )
    replace_folder(temporary, folder)


def load_policy(folder: Path, *, device: torch.device | str = "cpu") -> Policy:
    """Read a policy that `save_policy` wrote, bit for bit, in evaluation mode.

    Raises:
        ArtifactError: A file is missing, corrupt, of another version, or does not fit the config.
    """
    data = _read_header(folder)
    try:
        config = from_data(data["config"], PolicyConfig, source=str(folder / "policy.json"))
        spec = from_data(data["spec"], PolicySpec, source=str(folder / "policy.json"))
    except (ConfigError, KeyError) as error:
        raise ArtifactError(f"{folder / 'policy.json'} does not describe a policy.", got=error) from error
    with without_pretrained():
        policy = Policy.build(config, spec)
    weights = read_tensors(folder / "weights.safetensors")
    statistics = read_tensors(folder / "stats.safetensors")
    load_tensors(policy, {**weights, **statistics}, source=folder)
    return policy.to(device).eval()


def read_extra(folder: Path) -> dict[str, Any]:
    """Return the `extra` that was given to `save_policy`."""
    return _read_header(folder)["extra"]


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and persistent buffers on the CPU, contiguous, by name.

    Raises:
        ArtifactError: Two of them share memory.
    """
    state = {name: value.detach() for name, value in module.state_dict().items()}
    owner: dict[int, str] = {}
    for name, value in state.items():
        if value.numel() == 0:
            continue
        address = value.untyped_storage().data_ptr()
        if address in owner:
            raise ArtifactError(
                "Two tensors of the module share memory, which a file cannot express.",
                got=f"{owner[address]} and {name}",
                hint="clone one of them, or use the same submodule in one place only",
            )
        owner[address] = name
    return {name: value.cpu().contiguous() for name, value in state.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ArtifactError: It is missing or corrupt.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ArtifactError(f"There is no file {path}.", hint="the folder is incomplete") from error
    except SafetensorError as error:
        raise ArtifactError(f"{path} is not a safetensors file, or is cut short.", got=error) from error


def load_tensors(module: nn.Module, state: Mapping[str, Tensor], *, source: Path) -> None:
    """Load exactly these tensors into `module`; only buffers that a head declares `data_sized` may resize.

    Raises:
        ArtifactError: Names, shapes or dtypes differ.
    """
    own = module.state_dict(keep_vars=True)
    for label, names in (("lacks", set(own) - set(state)), ("has an unknown", set(state) - set(own))):
        if names:
            raise ArtifactError(
                f"{source} {label} tensor.",
                got=", ".join(sorted(names)),
                available=sorted(own),
                hint="it was written by other code or for another configuration",
            )
    resizable = {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        if isinstance(part, Head)
        for name in part.data_sized
    }
    for name, value in state.items():
        target = own[name]
        if name in resizable:
            target.data = torch.empty_like(value, device=target.device)
        if target.shape != value.shape or target.dtype != value.dtype:
            raise ArtifactError(
                f"{name} in {source} does not fit.",
                got=f"{value.dtype} {tuple(value.shape)}",
                expected=f"{target.dtype} {tuple(target.shape)}",
            )
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def replace_folder(temporary: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / "policy.json"
    try:
        data = read_json(path)
    except ConfigError as error:
        raise ArtifactError(
            f"{folder} holds no policy.", got=error.what, expected="a folder that save_policy wrote"
        ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not a policy of steadyhand.", expected=f'"format": "{FORMAT}"')
    if data.get("version") != VERSION:
        raise ArtifactError(
            f"{path} has a version that this code cannot read.",
            got=data.get("version"),
            expected=VERSION,
            hint="load it with the version of steadyhand that wrote it",
        )
    return data
