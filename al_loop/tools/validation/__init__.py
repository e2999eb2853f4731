"""VALIDATE: what a model says of crystals, defects, surfaces and liquids, beside a reference and the foundation."""
