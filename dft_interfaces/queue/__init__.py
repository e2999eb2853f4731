"""Labels through a cluster's queue."""
