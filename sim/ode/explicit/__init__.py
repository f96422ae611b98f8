"""Explicit methods whose steps are chosen by an error estimate: tables, and as many stages as stability needs."""
