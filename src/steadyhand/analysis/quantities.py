"""What `BatchEnv.error` measures in the envs that come with the library, for the title of the error curve."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A measured quantity.

    Attributes:
        name: What is measured.
        unit: Unit, such as "m"; empty if it has none, or none is known.
    """

    name: str
    unit: str = ""


DEVIATION = Quantity(name="Deviation from how the expert would do the task")
"""What the error of any other env is: its unit is the env's own."""

UPRIGHT = Quantity(name="Angle from upright", unit="rad")
AWAY = Quantity(name="Distance from where to be", unit="m")

_BY_ENV = {
    "acrobot": UPRIGHT,
    "arm": UPRIGHT,
    "avoiding": Quantity(name="Distance in x from the nearest route's middle line", unit="m"),
    "cart-pole": UPRIGHT,
    "car": Quantity(name="Distance from the centre line", unit="m"),
    "forks": Quantity(name="Distance in y from the nearer middle path", unit="m"),
    "linear": Quantity(name="Distance from rest (norm of the state)"),
    "pendulum": UPRIGHT,
    "planar-quadrotor": AWAY,
    "quadrotor": AWAY,
    "quadrotor-circle": AWAY,
    "quadrotor-gate": AWAY,
    "tabletop": Quantity(name="Distance of the blocks from their zones, added up", unit="m"),
    "tabular": Quantity(name="Value lost since the start"),
}


def error_of(env: str) -> Quantity:
    """Return what the error of the env with this id measures."""
    return _BY_ENV.get(env, DEVIATION)
