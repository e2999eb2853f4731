"""The stages of a round, and jobs that run them in a cluster's queue without database and credentials."""
