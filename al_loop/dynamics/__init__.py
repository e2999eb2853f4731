"""Integrators and relaxations, each for one replica."""
