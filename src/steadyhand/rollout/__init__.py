"""Run a controller in an env, one step at a time or to the end, and evaluate it."""
