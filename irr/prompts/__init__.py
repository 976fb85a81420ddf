"""Prompts: task packs, templates, and messages."""
