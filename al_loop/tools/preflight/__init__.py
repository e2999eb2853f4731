"""What is checked and estimated before a campaign starts."""
