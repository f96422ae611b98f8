"""An experiment file: its keys, presets, and what is built from it."""
