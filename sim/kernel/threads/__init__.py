"""Threads of a right-hand side: how many BLAS gets, and those that share rows."""
