"""steadyhand: teach a robot by showing it, and keep it on course."""

__version__ = "0.1.0"
