"""Batched envs that step many copies at once, and the adapter for Gymnasium's. No torch here."""
