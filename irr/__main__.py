"""Runs the command line as `python -m irr`."""

from irr.cli import main

if __name__ == "__main__":
    main()
