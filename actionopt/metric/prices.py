"""Prices of array operations in seconds, measured on one core of a server CPU with OpenBLAS; only ratios matter."""

from __future__ import annotations

PRODUCT_FLOP = 1 / 40e9  # of a matrix product
FACTOR_FLOP = 1 / 25e9  # of a Cholesky factorisation
ELEMENT = 1e-9  # one more pass over a number of a matrix that is formed
SOLVE = 0.45e-9  # a number of the factor's square, in both triangular solves together
STREAM = 0.5e-9  # a number of an array that is read once, in a product with a vector
FUSED = 0.135e-9  # a flop of the products of rows with outputs
CALL = 8e-6  # the array operations of one product, whatever their sizes
ITERATION = 15e-6  # the vector operations of one iteration of conjugate gradients, likewise
