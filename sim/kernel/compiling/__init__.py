"""How numba is led through the stages that kernels need, and asked each question once."""
