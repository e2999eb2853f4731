"""PROMOTE: whether a candidate model is served."""
