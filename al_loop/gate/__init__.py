"""GATE: classify each frame as trusted, suspect or discarded, with the reason."""
