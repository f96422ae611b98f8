"""Equations held against autodiff and against claims."""
