"""Statements about how optimizers move what a flow describes."""
