"""SELECT: which suspects are worth a DFT calculation."""
