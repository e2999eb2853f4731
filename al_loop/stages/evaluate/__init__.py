"""EVALUATE: a round's figures on frames that were never trained on."""
