"""Heads: context -> distribution over chunks of actions."""
