"""Comparison of policies and the report that shows it."""
