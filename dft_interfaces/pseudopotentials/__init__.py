"""Pseudopotential files, and the cutoffs that their authors recommend."""
