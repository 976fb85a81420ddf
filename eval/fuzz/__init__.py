"""Drawn inputs for every reader, and a guard that sees which promises of SECURITY.md a call breaks."""
