"""From matrix expressions to the interpreter's table of operations."""
