"""Optimizers on the side of theory: their own steps, and the flows that they follow, on the gradient of a closure."""
