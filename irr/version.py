"""The version of irr."""

__version__ = "0.1.0"
