"""The one compiled interpreter and what it carries out."""
