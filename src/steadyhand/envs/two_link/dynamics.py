"""Two uniform links in manipulator form, M(q) q'' + C(q, q') q' = tau_g(q) + B u, in NumPy or torch.

q_1 is the angle of the upper link from hanging, q_2 that of the lower one from it, counter-clockwise. The
formulas are those of any text on manipulators (Spong, Hutchinson and Vidyasagar, "Robot Modeling and
Control", section 7.3), for links whose centres lie half way.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class LinkParameters:
    """Numbers of two links, in SI units.

    Attributes:
        masses: Masses, upper first [kg].
        lengths: Lengths [m].
        gravity: Acceleration of gravity [m/s^2].
    """

    masses: tuple[Any, Any]
    lengths: tuple[Any, Any]
    gravity: Any

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "LinkParameters":
        """Return those among the parameters of an env."""
        return cls(masses=params["masses"], lengths=params["lengths"], gravity=params["gravity"])

    @property
    def centres(self) -> tuple[Any, Any]:
        """Distances of the centres of mass from their joints [m]."""
        return 0.5 * self.lengths[0], 0.5 * self.lengths[1]

    @property
    def inertias(self) -> tuple[Any, Any]:
        """Moments of inertia about the centres of mass [kg m^2]."""
        (m1, m2), (l1, l2) = self.masses, self.lengths
        return m1 * l1 * l1 / 12.0, m2 * l2 * l2 / 12.0


def mass_matrix(q: Any, links: LinkParameters, xp: Any) -> Any:
    """Return M(q), (..., 2, 2), symmetric and positive."""
    (m1, m2), (l1, _), (c1, c2) = links.masses, links.lengths, links.centres
    i1, i2 = links.inertias
    cosine = xp.cos(q[..., 1])
    m11 = i1 + i2 + m1 * c1 * c1 + m2 * (l1 * l1 + c2 * c2 + 2.0 * l1 * c2 * cosine)
    m12 = i2 + m2 * (c2 * c2 + l1 * c2 * cosine)
    m22 = i2 + m2 * c2 * c2 + 0.0 * cosine
    return xp.stack([xp.stack([m11, m12], -1), xp.stack([m12, m22], -1)], -2)


def coriolis_matrix(q: Any, rate: Any, links: LinkParameters, xp: Any) -> Any:
    """Return C(q, q'), (..., 2, 2), made of Christoffel symbols: M' - 2 C is skew-symmetric."""
    h = links.masses[1] * links.lengths[0] * links.centres[1] * xp.sin(q[..., 1])
    first = xp.stack([-h * rate[..., 1], -h * (rate[..., 0] + rate[..., 1])], -1)
    return xp.stack([first, xp.stack([h * rate[..., 0], 0.0 * h], -1)], -2)


def gravity_torque(q: Any, links: LinkParameters, xp: Any) -> Any:
    """Return tau_g(q), (..., 2) [N m]."""
    (m1, m2), (l1, _), (c1, c2), g = links.masses, links.lengths, links.centres, links.gravity
    lower = -m2 * c2 * g * xp.sin(q[..., 0] + q[..., 1])
    return xp.stack([-(m1 * c1 + m2 * l1) * g * xp.sin(q[..., 0]) + lower, lower], -1)


def energy(x: Any, links: LinkParameters, xp: Any) -> Any:
    """Return kinetic and potential energy, (...) [J]; the potential is zero at the hinge's height."""
    q, rate = x[..., :2], x[..., 2:]
    kinetic = 0.5 * (rate[..., None, :] @ mass_matrix(q, links, xp) @ rate[..., :, None])[..., 0, 0]
    (m1, m2), (l1, _), (c1, c2), g = links.masses, links.lengths, links.centres, links.gravity
    upper, lower = xp.cos(q[..., 0]), xp.cos(q[..., 0] + q[..., 1])
    return kinetic - g * ((m1 * c1 + m2 * l1) * upper + m2 * c2 * lower)


def acceleration(x: Any, torque: Any, links: LinkParameters, xp: Any) -> Any:
    """Return q'', (..., 2) [rad/s^2], for torques at both joints, (..., 2) [N m]; entry by entry."""
    q, rate = x[..., :2], x[..., 2:]
    (m1, m2), (l1, _), (c1, c2), g = links.masses, links.lengths, links.centres, links.gravity
    i1, i2 = links.inertias
    cross = m2 * l1 * c2
    cosine, h = cross * xp.cos(q[..., 1]), cross * xp.sin(q[..., 1])
    m22 = i2 + m2 * c2 * c2
    m12 = m22 + cosine
    m11 = i1 + m1 * c1 * c1 + m22 + m2 * l1 * l1 + 2.0 * cosine
    lower = -m2 * c2 * g * xp.sin(q[..., 0] + q[..., 1])
    upper = lower - (m1 * c1 + m2 * l1) * g * xp.sin(q[..., 0])
    f1 = torque[..., 0] + upper + h * rate[..., 1] * (2.0 * rate[..., 0] + rate[..., 1])
    f2 = torque[..., 1] + lower - h * rate[..., 0] * rate[..., 0]
    determinant = m11 * m22 - m12 * m12
    return xp.stack([(m22 * f1 - m12 * f2) / determinant, (m11 * f2 - m12 * f1) / determinant], -1)


def inverse_dynamics(x: Any, wanted: Any, links: LinkParameters, xp: Any) -> Any:
    """Return the torques at both joints, (..., 2), that accelerate by `wanted`, (..., 2) [rad/s^2]."""
    q, rate = x[..., :2], x[..., 2:]
    inertial = (mass_matrix(q, links, xp) @ wanted[..., None])[..., 0]
    turning = (coriolis_matrix(q, rate, links, xp) @ rate[..., None])[..., 0]
    return inertial + turning - gravity_torque(q, links, xp)
