"""Readers of frames, format by format."""
