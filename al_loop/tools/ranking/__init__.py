"""NARROW: from many candidates to the few that DFT must decide on, and the barrier between two of them."""
