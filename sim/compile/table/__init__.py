"""The table of operations that the interpreter carries out: where arrays lie, and what is written of each node."""
