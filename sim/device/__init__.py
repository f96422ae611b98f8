"""Flows on a GPU: the same table of operations and the same steps, carried out by torch; the one room of sim with torch."""
