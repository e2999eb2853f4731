"""Pseudopotential files: which there are, and what their makers say of cutoffs."""
