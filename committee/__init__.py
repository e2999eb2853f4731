"""A committee of residual heads around one frozen foundation model."""
