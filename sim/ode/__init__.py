"""Integration of y' = f(t, y): steps, events, endings; nothing here knows of flows."""
