"""Tools beside the loop: validation, ranking, monitoring, exchange of data, preflight checks."""
