"""Checks of labels and backbones against each other."""
