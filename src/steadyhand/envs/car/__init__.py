"""A 1/10-scale race car on closed tracks, with lidar and a tiny camera."""

from steadyhand.envs.car.config import Camera, CarConfig, CarParams, Lidar, RangeFinder
from steadyhand.envs.car.env import Car

__all__ = ["Camera", "Car", "CarConfig", "CarParams", "Lidar", "RangeFinder"]
