"""Validate physical properties of a model (crystals, defects, surfaces, liquids) against a reference."""
