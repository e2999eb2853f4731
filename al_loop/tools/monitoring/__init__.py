"""Monitor production runs with the campaign's gate; nothing is changed."""
