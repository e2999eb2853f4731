"""Adaptation of an open foundation's own weights to labelled frames, before heads are trained on it."""
