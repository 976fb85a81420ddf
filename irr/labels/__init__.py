"""The label space: read, checked, and how its labels hang together."""
