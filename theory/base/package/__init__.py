"""Of this package itself: what version it is, and how it loads."""
