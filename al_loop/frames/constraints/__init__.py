"""Constraints of structures: which are supported in which motion, and their effects on moving atoms.

Exploration, hold-out, promotion, the monitor's dynamics, ``rank``, ``barrier`` and ``validate`` all use this package.
DFT engines remove constraints before they calculate: a label has the forces on all atoms.
"""
