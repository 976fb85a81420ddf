"""Rank: candidates in their final order."""
