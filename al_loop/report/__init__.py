"""The report of a campaign: one HTML file, and the JSON of its rounds."""
