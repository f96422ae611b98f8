"""Flows on a GPU: the same table of operations and the same steps, by torch, which no other room of sim has."""
