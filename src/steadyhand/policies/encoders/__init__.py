"""Encoders: observation window -> context."""
