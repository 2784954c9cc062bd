"""Minimisers that know no problem: they see points with a value, a gradient and products with the Hessian."""
