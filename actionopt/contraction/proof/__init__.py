"""Contraction that is proved: enclosures over regions of weights, and what follows from them **[ours]**."""
