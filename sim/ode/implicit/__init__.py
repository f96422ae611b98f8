"""Implicit steps, which solve an equation for the state they end in: its Jacobian by secants or by differences."""
