"""Policy = normaliser + encoder + head. Encoders and heads know nothing of each other."""
