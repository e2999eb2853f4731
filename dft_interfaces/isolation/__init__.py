"""An engine in a process of its own, whose accidents stay its own."""
