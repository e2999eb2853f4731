"""Geometry of cells: vacuum, slabs, k-point meshes."""
