"""EVALUATE: errors of a round's model on frames that were never trained on."""
