"""Runs `python -m eval.fuzz`."""

from eval.fuzz.run import main

main()
