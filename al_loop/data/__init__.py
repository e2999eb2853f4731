"""Labels and frames on their way into a campaign and out of it: extended XYZ and aselmdb files."""
