"""The stages of a round and what they are made of; ``stages.py`` names them in order."""
