"""Policies from disk, checked against the env that they are to drive before anything runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from steadyhand.core.errors import ArtifactError, SpecError
from steadyhand.core.specs import EnvSpec, FeatureSpec
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.policy import PolicyModule
from steadyhand.training.checkpoint import Checkpoints


def policy_folder(path: Path) -> Path:
    """Return the folder of a policy, given it or the run folder around it.

    Raises:
        ArtifactError: There is no policy in either.
    """
    for candidate in (path, path / "policy"):
        if (candidate / "policy.json").is_file():
            return candidate
    if (last := Checkpoints.last(path / "training")) is not None:
        step, state = last
        raise ArtifactError(
            f"The training in {path} has not ended, so that its policy is not written yet.",
            got=f"a policy of step {step}, in {state}",
            hint=f"continue with steadyhand train ... --out {path} --resume, or name {state} itself",
        )
    raise ArtifactError(
        f"There is no policy in {path}.",
        got="neither policy.json nor policy/policy.json" if path.is_dir() else "no such folder",
        hint="give the folder that `steadyhand train --out` wrote",
    )


def open_policy(path: Path, spec: EnvSpec) -> PolicyModule:
    """Load the policy of a policy folder or a run folder, and check that it can drive the env.

    Raises:
        ArtifactError: There is no policy, or a damaged one.
        SpecError: It reads, does or expects something else than the env offers.
    """
    policy = load_policy(policy_folder(path))
    check_fits(policy, spec, name=f"The policy in {path}")
    return policy


def check_fits(policy: PolicyModule, spec: EnvSpec, *, name: str) -> None:
    """Check that a policy can drive an env.

    Args:
        policy: The policy.
        spec: What the env offers.
        name: What to call the policy, at the beginning of a sentence.

    Raises:
        SpecError: It reads, does or expects something else than the env offers.
    """
    made_for = policy.spec
    missing = [name for name in made_for.observation if name not in spec.observation]
    if missing:
        hint = f"let the env show {', '.join(missing)}, with --observation if it has a choice"
        raise SpecError(
            f"{name} reads what {spec.env_id} does not show.",
            got=", ".join(spec.observation),
            expected=", ".join(made_for.observation),
            hint=hint,
        )
    wanted = {**made_for.observation, "action": made_for.action}
    for feature_name, feature in wanted.items():
        offered = _offered(feature_name, spec)
        if not feature.agrees_with(offered):
            raise SpecError(
                f"{name} was trained for another env than {spec.env_id}: {feature_name} differs.",
                got=offered.describe(),
                expected=feature.describe(),
                hint=_how_to_agree(feature_name, offered, feature),
            )
    if abs(made_for.control_dt - spec.control_dt) > 0.01 * spec.control_dt:
        raise SpecError(
            f"{name} was trained at another rate than {spec.env_id} runs at.",
            got=f"control_dt = {spec.control_dt:g} s",
            expected=f"control_dt = {made_for.control_dt:g} s",
            hint="for a policy trained on a .npz file, train it with the env's --control-dt",
        )


def needed_features(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the features that the policies in these folders read, each once."""
    names = (name for path in paths for name in load_policy(policy_folder(path)).features)
    return tuple(dict.fromkeys(names))


def _offered(name: str, spec: EnvSpec) -> FeatureSpec:
    return spec.action if name == "action" else spec.observation[name]


def _how_to_agree(name: str, offered: FeatureSpec, wanted: FeatureSpec) -> str:
    if replace(offered, drawn=wanted.drawn).agrees_with(wanted) and offered.drawn:
        return f"draw what it was trained on: --set env.quality={wanted.drawn}"
    if name == "action" and offered.kind == "discrete":
        classes = offered.classes
        return f"train it with --classes {classes[0]}..{classes[-1]}, the numbers that the env takes"
    return "evaluate it in the env that it was trained for"
