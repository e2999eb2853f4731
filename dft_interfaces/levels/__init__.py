"""Levels of theory of engines and of foundation models, and their differences."""
