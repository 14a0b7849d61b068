"""What can be chosen about the cart-pole. SI units throughout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Count, NotNegative, Positive, Range
from steadyhand.envs.mechanics import MechanismConfig

if TYPE_CHECKING:
    from steadyhand.envs.cartpole.env import CartPole


@dataclass(frozen=True, kw_only=True)
class CartPoleConfig(MechanismConfig):
    """A pole on a cart to be swung up and balanced by a force of any size within bounds.

    Masses, length and gravity are those of Gymnasium's CartPole-v1 (Barto, Sutton and Anderson, 1983), whose
    force has two values and whose pole begins upright. Here the force is a number, the pole begins at any
    angle, and the cart must end in the middle of its rail.

    Attributes:
        cart_mass: Mass of the cart [kg].
        pole_mass: Mass of the pole, a uniform rod [kg].
        half_length: Half the length of the pole [m].
        gravity: Acceleration of gravity [m/s^2].
        max_force: Bound of the force on the cart [N].
        rail: The episode fails when the cart is this far from the middle [m].
    """

    expert: ClassVar[str] = "IlqrExpert"
    cart_mass: Positive = 1.0
    pole_mass: Positive = 0.1
    half_length: Positive = 0.5
    gravity: NotNegative = 9.8
    max_force: Positive = 10.0
    rail: Annotated[float, Range(ge=0.5)] = 2.4
    substeps: Count = 1

    def build(self, num_rows: int) -> "CartPole":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.cartpole.env import CartPole

        return CartPole(self, num_rows=num_rows)
