"""Remedies for compounding error, online and offline."""
