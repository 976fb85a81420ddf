"""The tests: folders mirror the rooms of `irr`."""
