"""Rank candidate structures, select those for DFT, and find barriers between structures."""
