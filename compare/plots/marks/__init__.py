"""What panels are made of: colours, words, labels and notes."""
