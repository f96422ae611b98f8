"""Expressions and results for people: text, LaTeX, HTML."""
