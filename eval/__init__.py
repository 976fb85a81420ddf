"""Benchmarks: each is a command, and records what it measured together with the command."""
