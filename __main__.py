"""Run the command line: ``python -m smallinit``."""

from .cli import main

if __name__ == "__main__":
    main()
