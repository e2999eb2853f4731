"""What a structure is on its way round the loop: what is kept of it, a user's own entries, its constraints."""
