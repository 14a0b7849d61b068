"""Features by their short names."""

from collections.abc import Container, Mapping, Sequence

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec, full_names


def full_name(name: str, features: Mapping[str, FeatureSpec]) -> str:
    """Return the feature that `name` stands for: "state" for "observation.state", "front" for a camera.

    Raises:
        ConfigError: There is none.
    """
    for candidate in full_names(name):
        if candidate in features:
            return candidate
    raise ConfigError("There is no such feature.", got=name, available=features)


def refuse_depth(names: Sequence[str], depth: Container[str]) -> None:
    """Raise ConfigError where a policy is to see a depth map of the data."""
    for name in names:
        if any(candidate in depth for candidate in full_names(name)):
            raise ConfigError(
                "No policy here reads depth maps.",
                got=name,
                hint="leave it out; dataset.depth_maps(...) returns metres",
            )


def chosen_features(features: Mapping[str, FeatureSpec], names: Sequence[str]) -> dict[str, FeatureSpec]:
    """Return the named features, or all of them if none is named.

    Raises:
        ConfigError: A feature is not there.
    """
    chosen = dict.fromkeys(full_name(name, features) for name in names)
    return {name: features[name] for name in chosen or features}
