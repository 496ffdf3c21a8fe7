"""Bits: the bit contract. Random words, permutations and fingerprints from keys alone."""
