"""LABEL: resources, budgets and quarantine of labels, and labels calculated in this process."""
