"""What several figures of the paper have in common."""
