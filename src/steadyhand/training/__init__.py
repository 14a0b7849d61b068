"""One loop for anything trainable, with bit-exact resume."""
