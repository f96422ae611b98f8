"""Taylor series of polynomial right-hand sides, in lanes."""
