"""Ready systems to run and to copy: one a file, with its source and its known answer.

Every file defines `build(**options)`; `python -m problems.xor --set width=3` runs its check.
"""
