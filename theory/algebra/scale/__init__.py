"""Expressions by powers of the common scale of the weights: series, their cost, and which powers there are."""
