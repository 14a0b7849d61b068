"""Simulators of others as envs: what each of them must be told, and one way to run copies of any of them."""
