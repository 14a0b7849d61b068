"""Parameters that the main training run leaves without a gradient, each with its reason."""

NO_GRADIENT: dict[str, str] = {}
"""Class name of an encoder or head, a dot, parameter name -> why it gets no gradient."""
