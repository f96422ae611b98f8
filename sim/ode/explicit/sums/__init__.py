"""The arithmetic of explicit steps: sums of slopes, one row of a table at a time or several in one pass."""
