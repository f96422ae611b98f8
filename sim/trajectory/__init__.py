"""Weights and observables over flow time, kept and saved."""
