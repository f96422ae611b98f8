"""Tables of sequences and labels, from files and frames."""
