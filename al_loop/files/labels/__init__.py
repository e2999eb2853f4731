"""Labels in files: names, counts, duplicates, isolated atoms."""
