"""A trained policy on disk: JSON and safetensors, read without running anybody's code.

policy.json            format, version, config with tags; the features that it sees and its actions, with
                       shapes, names, units and bounds; control_dt; mode, offset, scale, spread and floor of
                       every normalised feature; episodes, steps and digest of the data it was trained on; the
                       digest of the weights and of itself. Everything is written out: no default of the code
                       that loads it counts
weights.safetensors    parameters and other buffers
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from steadyhand.core.codec import from_data, read_json, to_data, write_json
from steadyhand.core.digests import check_files, file_digests, sealed, unsealed
from steadyhand.core.errors import ArtifactError, ConfigError
from steadyhand.core.parts import Part, handed_over
from steadyhand.core.strict import naming, require_file
from steadyhand.policies.contract import Head
from steadyhand.policies.nets.pretrained import without_pretrained
from steadyhand.policies.normaliser import Affine
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec

FORMAT = "steadyhand.policy"
VERSION = 3
_WEIGHTS = "weights.safetensors"
_STATISTICS = "normaliser."
_PARTS = {"config", "spec", "normaliser", "data", "files", "extra"}
T = TypeVar("T")


def save_policy(policy: PolicyModule, folder: Path, *, extra: Mapping[str, Any] | None = None) -> None:
    """Write a policy, replacing one that is there; no reader ever sees half of one.

    Args:
        policy: The policy; on any device.
        folder: Where to write; parents are made.
        extra: JSON data to keep beside it, such as where it was trained and what it scored.

    Raises:
        ArtifactError: Two of its tensors share memory, so that they could not be told apart on disk; or
            something else than a policy lies there, which would be gone.
    """
    _require_ours(folder)
    state = tensors_of(policy)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    kept = {name: value for name, value in state.items() if not name.startswith(_STATISTICS)}
    write_tensors(temporary / _WEIGHTS, kept)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": to_data(policy.config),
        "spec": to_data(policy.spec),
        "normaliser": {name: affine.to_data() for name, affine in policy.affines.items()},
        "data": policy.trained_on,
        "extra": dict(extra or {}),
        "files": file_digests(temporary, [_WEIGHTS]),
    }
    write_json(temporary / "policy.json", sealed(header))
    replace_folder(temporary, folder)


def load_policy(
    folder: Path, *, device: torch.device | str = "cpu", parts: Iterable[type[Part]] = ()
) -> PolicyModule:
    """Read a policy that `save_policy` wrote, bit for bit, in evaluation mode.

    Args:
        folder: Where it is.
        device: Where its tensors are to be.
        parts: Classes of encoders and heads of your own that it may be made of; those of modules that are
            imported, and of installed packages, need not be named.

    Raises:
        ArtifactError: A file is missing, corrupt, of another version, or does not fit the config.
    """
    data = _read_header(folder)
    path = folder / "policy.json"
    with handed_over(parts):
        config = _whole(data["config"], PolicyConfig, path)
    spec = _whole(data["spec"], PolicySpec, path)
    check_files(folder, data["files"])
    with without_pretrained():
        policy = PolicyModule.build(config, spec)
    policy.trained_on = data["data"]
    for name, affine in policy.affines.items():
        affine.from_data(data["normaliser"].get(name), source=str(path))
    statistics = {name: value for name, value in policy.state_dict().items() if name.startswith(_STATISTICS)}
    load_tensors(policy, {**read_tensors(folder / _WEIGHTS), **statistics}, source=folder)
    return policy.to(device).eval()


def read_policy_tensors(folder: Path, policy: PolicyModule) -> dict[str, Tensor]:
    """Return every tensor, statistics included, that was saved of a policy of the same parts as `policy`.

    Raises:
        ArtifactError: A file is missing, corrupt or does not fit.
    """
    data = _read_header(folder)
    check_files(folder, data["files"])
    normaliser = deepcopy(policy.normaliser)
    for name, affine in zip(policy.affines, normaliser.values(), strict=True):
        assert isinstance(affine, Affine)
        affine.from_data(data["normaliser"].get(name), source=str(folder / "policy.json"))
    return {**read_tensors(folder / _WEIGHTS), **normaliser.state_dict(prefix=_STATISTICS)}


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


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file.

    Raises:
        OSError: It cannot be written, such as on a full disk; it names the file.
    """
    with naming(path):
        try:
            save_file(dict(tensors), path)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ArtifactError: It is missing, no regular file, or corrupt.
    """
    require_file(path, error=ArtifactError)
    try:
        return load_file(path)
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


def _require_ours(folder: Path) -> None:
    """Raise ArtifactError if at `folder` lies what a policy must not take the place of."""
    if not folder.name:
        raise ArtifactError(
            "A policy needs a folder of its own.", got=folder, hint="name a new one, such as runs/mine"
        )
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is a file, and no folder.", hint="name another folder for the policy")
    held = sorted(one.name for one in folder.iterdir()) if folder.exists() else []
    if held and "policy.json" not in held:
        raise ArtifactError(
            f"{folder} holds other files, which a policy would take the place of.",
            got=", ".join(held[:5]),
            expected="a new folder, an empty one, or one that holds a policy",
            hint=f"name a folder in it, such as {folder / 'policy'}",
        )


def replace_folder(temporary: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


_RESTORE = "check the path, restore the folder from a copy, or train the policy again"


def _read_header(folder: Path) -> dict[str, Any]:
    path = folder / "policy.json"
    try:
        data = read_json(path)
    except ConfigError as error:
        raise ArtifactError(
            f"{folder} holds no policy.",
            got=error.what,
            expected="a folder that save_policy wrote",
            hint=_RESTORE,
        ) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} is not a policy of steadyhand.", expected=f'"format": "{FORMAT}"', hint=_RESTORE
        )
    if data.get("version") != VERSION:
        raise ArtifactError(
            f"{path} has a version that this code cannot read.",
            got=data.get("version"),
            expected=VERSION,
            hint="train the policy again, or load it with the version of steadyhand that wrote it",
        )
    body = unsealed(data, path=path)
    if missing := _PARTS - body.keys():
        raise ArtifactError(f"{path} lacks {', '.join(sorted(missing))}.", got=sorted(body))
    return body


def _whole(data: Any, kind: type[T], path: Path) -> T:
    """Return the dataclass that `data` describes in full: what the code would add to it is refused."""
    try:
        value = from_data(data, kind, source=str(path))
    except ConfigError as error:
        raise ArtifactError(f"{path} does not describe a policy.", **error.rest) from error
    if added := _added(data, to_data(value), kind.__name__):
        raise ArtifactError(
            f"{path} does not say all that makes a policy.",
            got=f"no {', no '.join(added)}",
            hint="train the policy again, or load it with the version of steadyhand that wrote it",
        )
    return value


_MAY_BE_UNSAID = (("drawn", ""),)
"""What adds nothing: the empty text says that nobody knows how older pictures were drawn."""


def _added(given: Any, whole: Any, place: str) -> list[str]:
    """Return the places of keys that `whole` has and `given` has not."""
    if isinstance(whole, dict):
        return [
            found
            for key, value in whole.items()
            if key in given or (key, value) not in _MAY_BE_UNSAID
            for found in (_added(given[key], value, f"{place}.{key}") if key in given else [f"{place}.{key}"])
        ]
    if isinstance(whole, list | tuple):
        return [found for one, other in zip(given, whole, strict=True) for found in _added(one, other, place)]
    return []
