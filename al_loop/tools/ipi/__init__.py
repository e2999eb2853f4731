"""The committee as the force provider of i-PI."""
