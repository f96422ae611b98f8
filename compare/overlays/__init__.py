"""Theory laid over training: errors, horizons, decompositions."""
