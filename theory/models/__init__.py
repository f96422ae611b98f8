"""The built-in models, each stated as symbolic logits, their losses, and how weights start."""
