"""Pictures of overlays, proofs and sweeps."""
