"""Run an engine in a separate process, so that its failures do not affect the caller."""
