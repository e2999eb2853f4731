"""TRAIN: labels against the foundation, before the committee is fitted to them."""
