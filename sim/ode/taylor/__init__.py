"""Taylor series of right-hand sides, in lanes."""
