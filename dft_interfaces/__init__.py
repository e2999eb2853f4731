"""Labels: DFT engines behind one contract, and the jobs that run them."""
