"""Readers and writers of all file formats of structures, labels and trajectories."""
