"""How one call of `Stepper.advance` ended; numba compiles the numbers into the loops, so they stand apart."""

# Still on its way, at t1, at the limit of trial steps, at the shortest step that flow time resolves.
RUNNING, DONE, OUT_OF_STEPS, UNDERFLOW = range(4)
