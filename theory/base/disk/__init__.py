"""Between files and the system: what may be opened, what was written, who writes, and names that change places."""
