"""Sequences, labels and their statistics: tasks, text, label laws, what a model sees of them."""
