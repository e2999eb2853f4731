"""Import and export of labels and frames of a campaign."""
