"""Tests of irr.calibration."""
