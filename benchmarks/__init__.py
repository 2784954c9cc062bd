"""Side-by-side runs, one process and one BLAS thread each: `python -m benchmarks.NAME`."""

import os

# before NumPy and SciPy load: each brings its own OpenBLAS, and two pools on a shared machine mislead every figure
for _pool in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")
