"""What is said before a run: certificates, stages, modes."""
