"""What every room stands on and nothing of the science: validators and whole files."""
