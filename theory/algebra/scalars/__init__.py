"""Functions of one variable, applied entry by entry: what is admitted, their series, and how they are evaluated."""
