"""Conformance batteries and hypothesis strategies, for users too."""
