"""Contraction rates of the gradient flow, their composition, and what they say about stability."""
