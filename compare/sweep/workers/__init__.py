"""Where batches of points are computed, and what a worker does with one."""
