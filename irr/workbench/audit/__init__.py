"""Audit: gold labels that are probably wrong or missing, and labels that cannot be told apart or reached."""
