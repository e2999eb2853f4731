"""GATE: what may be trusted, what is suspect, what is broken, and why."""
