"""Steps of a round as jobs of a cluster's queue: files in, files out, no database and no credentials."""
