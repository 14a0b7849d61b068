"""Runs as typed values: one dataclass is one run.json."""
