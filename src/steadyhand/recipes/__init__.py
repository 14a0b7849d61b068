"""Runs as typed values: one dataclass is one run.json. Recipes by name, such as `recipes.ActRecipe()`."""

from typing import Any

from steadyhand.core.parts import attribute, available
from steadyhand.recipes.config import RecipeConfig


def __getattr__(name: str) -> Any:
    return attribute(RecipeConfig, name, module=__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *available(RecipeConfig)})
