"""Parameters that the main training run leaves without a gradient, each with its reason."""

_ZERO_QUERIES = "the decoder starts from zeros, as published: its first self-attention is at first zero"
_ONE_STEP = "with one observed step there is no earlier one, whose state or token could be looked at"
_ONE_ACTION = "a chunk of one step has one token, which looks at itself whatever it asks"

NO_GRADIENT: dict[str, str] = {
    "RecurrentEncoder.net.layers.weight_hh_l0": _ONE_STEP,
    "RecurrentEncoder.net.layers.weight_hh_l1": _ONE_STEP,
    "CausalTransformerEncoder.layers.0.attention.query.weight": _ONE_STEP,
    "CausalTransformerEncoder.layers.0.attention.query.bias": _ONE_STEP,
    "CausalTransformerEncoder.layers.0.attention.key.weight": _ONE_STEP,
    "CausalTransformerEncoder.layers.0.attention.key.bias": "what is added to all keys changes no weight",
    "FlowHead.net.layers.0.attention.query.weight": _ONE_ACTION,
    "FlowHead.net.layers.0.attention.query.bias": _ONE_ACTION,
    "FlowHead.net.layers.0.attention.key.weight": _ONE_ACTION,
    "FlowHead.net.layers.0.attention.key.bias": _ONE_ACTION,
    "ActHead.net.decoder.0.attention.query.weight": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention.query.bias": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention.key.weight": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention.key.bias": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention.value.weight": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention.out.weight": _ZERO_QUERIES,
    "ActHead.net.decoder.0.attention_norm.weight": _ZERO_QUERIES,
    "EnergyHead.offset": "labels compare scores with each other; only judged steps say how low is good",
}
"""Class name of an encoder or head, a dot, parameter name -> why it gets no gradient."""

CLOSED_FORM: dict[str, str] = {
    "RidgeHead": "solves the normal equations",
    "NearestHead": "stores the training windows",
    "TabularHead": "counts",
}
"""Class name of a head -> what it does in `prepare` instead of taking gradients; its encoder is frozen."""
