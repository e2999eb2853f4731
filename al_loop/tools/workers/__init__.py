"""Processes that calculate labels: the campaign's own, and those on other machines."""
