"""Uncertainty: spread, score, calibration, conformal bounds, the screen."""
