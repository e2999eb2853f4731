"""Constraints of structures: which are followed, in which motion, and what follows from them for everything that moves.

The one place for all of it: exploration, hold-out, promotion, the monitor's dynamics, ``rank``, ``barrier`` and
``validate`` ask here. DFT engines take constraints off before they calculate: a label has the forces on all atoms.
"""
