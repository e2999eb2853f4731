"""What an engine's numbers mean, and how that differs from what a foundation was trained at."""
