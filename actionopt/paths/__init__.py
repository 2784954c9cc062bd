"""Paths of least action without a horizon: the geometric action, its minimisers, quasipotentials."""
