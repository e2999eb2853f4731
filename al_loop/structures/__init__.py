"""Structures that trajectories start from: systems, generators, orderings, descriptors."""
