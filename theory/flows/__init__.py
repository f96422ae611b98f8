"""Closures and the equations of motion derived under them."""
