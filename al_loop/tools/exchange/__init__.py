"""Labels and frames into a campaign and out of it."""
