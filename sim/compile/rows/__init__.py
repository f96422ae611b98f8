"""Right-hand sides rewritten so that fewer rows are worked on: those that are wanted, and those that differ."""
