"""LABEL: the worker processes, what they claim, and a check of what came back."""
