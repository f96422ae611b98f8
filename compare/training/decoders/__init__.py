"""Networks that are decoders, but for what a closure drops."""
