"""Small helpers that know nothing of campaigns."""
