"""Scales of a start: what is small, which constraint binds, when the start is left."""
