"""Checks and estimates before a campaign starts."""
