"""Structures in the loop: their kept properties, a user's own entries, their constraints."""
