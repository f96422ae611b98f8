"""Many starts of one flow at once."""
