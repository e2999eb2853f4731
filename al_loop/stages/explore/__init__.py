"""EXPLORE: trajectories from structures, under the served model."""
