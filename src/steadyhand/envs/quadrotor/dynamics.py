"""A rigid body with four rotors, in NumPy or torch.

m p'' = -m g e_3 + f R e_3, J w' = tau - w x J w, q' = q (0, w) / 2, with a unit quaternion q = (w, x, y, z)
from the body to the world, x forward, y left, z up, and body rates w. Rotors stand in an X: front left, rear
left, rear right, front right; the first and the third push the body round counter-clockwise.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

SPIN = (1.0, -1.0, 1.0, -1.0)


def mixer(arm: float, drag_arm: float) -> Float64[np.ndarray, "4 4"]:
    """Return the matrix from four thrusts to (thrust, torque about x, y, z)."""
    side = arm / np.sqrt(2.0)
    ahead, left = side * np.array([1.0, -1.0, -1.0, 1.0]), side * np.array([1.0, 1.0, -1.0, -1.0])
    return np.stack([np.ones(4), left, -ahead, drag_arm * np.array(SPIN)])


def derivative(x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
    """Return x', (..., 13), for (place, quaternion, velocity, body rates) and (..., 4) thrusts [N]."""
    w, i, j, k = (x[..., 3 + n] for n in range(4))
    p, q, r = (x[..., 10 + n] for n in range(3))
    front_left, rear_left, rear_right, front_right = (u[..., n] for n in range(4))
    side = params["arm"] * 0.7071067811865476
    lift = (front_left + rear_left + rear_right + front_right) / params["mass"]
    roll = side * (front_left + rear_left - rear_right - front_right)
    pitch = side * (rear_left + rear_right - front_left - front_right)
    yaw = params["drag_arm"] * (front_left - rear_left + rear_right - front_right)
    jx, jy, jz = params["inertia"]
    return xp.stack(
        [
            x[..., 7],
            x[..., 8],
            x[..., 9],
            0.5 * (-i * p - j * q - k * r),
            0.5 * (w * p + j * r - k * q),
            0.5 * (w * q + k * p - i * r),
            0.5 * (w * r + i * q - j * p),
            lift * 2.0 * (i * k + w * j),
            lift * 2.0 * (j * k - w * i),
            lift * (1.0 - 2.0 * (i * i + j * j)) - params["gravity"],
            (roll - (jz - jy) * q * r) / jx,
            (pitch - (jx - jz) * r * p) / jy,
            (yaw - (jy - jx) * p * q) / jz,
        ],
        -1,
    )


def rotation(quaternion: Any, xp: Any) -> Any:
    """Return R from the body to the world, (..., 3, 3), of unit quaternions (..., 4)."""
    w, x, y, z = (quaternion[..., n] for n in range(4))
    rows = (
        (1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)),
        (2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)),
        (2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)),
    )
    return xp.stack([xp.stack(list(row), -1) for row in rows], -2)


def quaternion_of(turned: Float64[np.ndarray, "... 3 3"]) -> Float64[np.ndarray, "... 4"]:
    """Return the unit quaternion of rotations, its first entry not negative."""
    xx, yy, zz = turned[..., 0, 0], turned[..., 1, 1], turned[..., 2, 2]
    sizes = (1.0 + xx + yy + zz, 1.0 + xx - yy - zz, 1.0 - xx + yy - zz, 1.0 - xx - yy + zz)
    apart = {n: turned[..., i, j] - turned[..., j, i] for n, i, j in ((1, 2, 1), (2, 0, 2), (3, 1, 0))}
    both = {3: turned[..., 1, 0] + turned[..., 0, 1], 4: turned[..., 0, 2] + turned[..., 2, 0]}
    both[5] = turned[..., 2, 1] + turned[..., 1, 2]  # by the sum of the axes: 1 + 2, 1 + 3, 2 + 3
    rows = [[sizes[0], *apart.values()]]
    rows += [[apart[n], *(sizes[n] if m == n else both[n + m] for m in (1, 2, 3))] for n in (1, 2, 3)]
    table = np.stack([np.stack(row, -1) for row in rows], -2)  # 4 q q'
    largest = np.stack(sizes, -1).argmax(-1)[..., None, None]  # which entry it is safe to divide by
    found = np.take_along_axis(table, largest, -2)[..., 0, :]
    found = found / np.linalg.norm(found, axis=-1, keepdims=True)
    return np.where(found[..., :1] < 0.0, -found, found)


def from_euler(roll: float, pitch: float, yaw: float) -> Float64[np.ndarray, " 4"]:
    """Return the quaternion of turning by yaw, then pitch, then roll, each about the body's axis."""
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(0.5 * a), np.sin(0.5 * a)) for a in (roll, pitch, yaw))
    return np.array(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ]
    )
