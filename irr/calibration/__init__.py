"""Calibrate: from a ranking to probabilities, to sets of the right size, and to no answer at all."""
