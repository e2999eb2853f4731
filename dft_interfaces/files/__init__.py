"""Files of the interfaces: atomic writes, JSON of structures and labels."""
