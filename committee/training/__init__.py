"""Training of the heads: the training set as tensors, losses, the dense fit, its state on disk."""
