"""Flows inside the singular spaces of their data."""
