"""What can be chosen about the table. SI units throughout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Range
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, image_spec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.points import INTENT
from steadyhand.envs.tabletop.layout import NUM_BLOCKS, NUM_ZONES
from steadyhand.envs.tabletop.words import Unheard

if TYPE_CHECKING:
    from steadyhand.envs.tabletop.env import Tabletop

Sense = Literal["state", "objects", "camera", "goal"]
SENSES: tuple[Sense, ...] = get_args(Sense)
FEATURES: dict[str, Sense] = {
    STATE: "state",
    "observation.objects": "objects",
    "observation.images.top": "camera",
    "observation.goal": "goal",
}
"""Feature -> the sense that fills it."""
TABLE = "privileged.table"
"""(B, 24) what lies where and belongs where, for experts; see `FACTS`."""
BLOCK_FACTS = ("x", "y", "zone", "held", "colour")
FACTS = (
    *("x", "y", "closed", "holds"),
    *(f"{block}.{word}" for block in range(NUM_BLOCKS) for word in BLOCK_FACTS),
)
"""Gripper, then each block: place [m], number of its zone (-1: it stays), number of its colour."""
PIXELS = 64
TOKEN = ("is_block", "x", "y", "dx", "dy", "red", "green", "blue", "held")
"""What is said of each of eight objects: blocks, in no order, and then the zones far, near, left, right."""


@dataclass(frozen=True, kw_only=True)
class TabletopConfig(EnvConfig):
    """Four coloured blocks, four zones and a gripper: all blocks, or the one that is named, to their zones.

    Attributes:
        task: Whether every block goes to the zone of its own colour, in any order, or one block goes where an
            instruction says, each episode its own.
        unheard: What of the instruction training never says; "nothing" is training itself.
        observation: What it shows: the gripper, what lies on the table as one line of numbers an object, a
            picture from above, and, of an instruction, its meaning in numbers: the colour that it names, and
            the middle of the zone. The goal stands in for the words where a policy reads none.
        max_speed: Bound of either component of the gripper's velocity [m/s].
        control_dt: Time between two actions [s].
        max_episode_steps: Steps after which an episode is truncated; None takes 100 to sort, 45 for an
            instruction.
    """

    expert: ClassVar[str] = "TabletopExpert"
    chooses: ClassVar[bool] = True

    task: Literal["sort", "instruct"] = "sort"
    unheard: Unheard = "nothing"
    observation: Annotated[tuple[Sense, ...], Range(ge=1)] = ("state", "objects")
    max_speed: Annotated[float, Range(ge=0.2, le=1.0, unit="m/s")] = 0.4
    control_dt: Annotated[float, Range(ge=0.02, le=0.2, unit="s")] = 0.1
    max_episode_steps: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.observation)) < len(self.observation):
            raise ConfigError("The table shows a sense twice.", got=self.observation, available=SENSES)
        if self.task == "sort" and self.unheard != "nothing":
            raise ConfigError(
                "Only of an instruction is anything unheard.",
                got=f"task='sort', unheard={self.unheard!r}",
                hint="choose task='instruct'",
            )
        if self.task == "sort" and "goal" in self.observation:
            raise ConfigError(
                "Sorting has no goal of its own: the colours of the zones tell where every block belongs.",
                got=f"task='sort', observation={self.observation!r}",
                hint="choose task='instruct', or leave 'goal' out",
            )

    @property
    def step_limit(self) -> int:
        """Steps after which an episode is truncated."""
        return self.max_episode_steps or (100 if self.task == "sort" else 45)

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        speed, things = self.max_speed, NUM_BLOCKS + NUM_ZONES
        gripper = FeatureSpec(shape=(4,), names=("x", "y", "closed", "holds"), units=("m", "m", "1", "1"))
        units = ("1", "m", "m", "m", "m", "1", "1", "1", "1")
        features = {
            "state": gripper,
            "objects": FeatureSpec(
                shape=(things, len(TOKEN)),
                names=tuple(f"{place}.{word}" for place in range(things) for word in TOKEN),
                units=units * things,
            ),
            "camera": image_spec(PIXELS, PIXELS, 3),
            "goal": FeatureSpec(
                shape=(5,), names=("red", "green", "blue", "x", "y"), units=("1", "1", "1", "m", "m")
            ),
        }
        sorts = self.task == "sort"
        return EnvSpec(
            env_id="tabletop",
            observation={
                name: features[sense] for name, sense in FEATURES.items() if sense in self.observation
            },
            privileged={
                TABLE: FeatureSpec(
                    shape=(len(FACTS),),
                    names=FACTS,
                    units=("m", "m", "1", "1", *("m", "m", "1", "1", "1") * NUM_BLOCKS),
                ),
                INTENT: FeatureSpec(shape=(1,), names=("order",), units=("1",)),
            },
            action=FeatureSpec(
                shape=(3,),
                names=("vx", "vy", "close"),
                units=("m/s", "m/s", "1"),
                low=(-speed, -speed, 0.0),
                high=(speed, speed, 1.0),
            ),
            control_dt=self.control_dt,
            max_episode_steps=self.step_limit,
            task="Bring every block to the zone of its colour." if sorts else "Do what the instruction says.",
            success=SuccessRule(
                said="every block lies in the zone of its colour, and the gripper is empty"
                if sorts
                else "the first block that is laid into a zone is the named one, and the zone too"
            ),
        )

    def showing(self, names: Sequence[str]) -> "TabletopConfig":
        """Return the settings of the same table that shows these senses, or those that fill these features.

        Raises:
            ConfigError: There is no such sense.
        """
        sense_of: dict[str, Sense] = {**{sense: sense for sense in SENSES}, **FEATURES}
        for name in names:
            if name not in sense_of:
                raise ConfigError("The table has no such sense.", got=name, available=SENSES)
        return replace(self, observation=tuple(dict.fromkeys(sense_of[name] for name in names)))

    def build(self, num_rows: int) -> "Tabletop":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.tabletop.env import Tabletop

        return Tabletop(self, num_rows=num_rows)
