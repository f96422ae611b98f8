"""The torch twins and their training."""
