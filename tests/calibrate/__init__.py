"""Tests of irr.calibrate."""
