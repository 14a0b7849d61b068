"""Scripted experts for CartPole-v1 and Pendulum-v1, in NumPy: both sides of dagger_peers.py use them."""

import numpy as np


def balance(observation: np.ndarray) -> np.ndarray:
    """Return 0 or 1 for (B, 4) x [m], dx/dt, angle [rad], its rate: push to where the pole falls."""
    return (observation @ np.array([0.2, 0.4, 3.0, 1.0]) > 0).astype(np.int64)


def swing_up(observation: np.ndarray) -> np.ndarray:
    """Return (B, 1) torques for (B, 3) cos, sin, rate [rad/s]: pump energy, then hold the pole up."""
    cosine, sine, rate = observation.T
    angle = np.arctan2(sine, cosine)
    energy = rate * rate / 6.0 + 5.0 * cosine - 5.0  # above that of the upright rest
    pump = -2.0 * np.sign(np.where(rate == 0, 1.0, rate)) * np.sign(energy)
    torque = np.where(np.abs(angle) < 0.5, -12.0 * angle - 3.0 * rate, pump)
    return np.clip(torque, -2.0, 2.0)[:, None].astype(np.float32)


EXPERTS = {"CartPole-v1": balance, "Pendulum-v1": swing_up}
