"""Optimal control with a known model: regulators, trajectory optimisation and planning by sampling."""
