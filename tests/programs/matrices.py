"""NumPy: products and systems of equations on the threads of its BLAS."""
import hashlib
import os
import time

import numpy

STEPS = 40
numbers = numpy.random.default_rng(7)
a = numbers.standard_normal((260, 260))
for step in range(STEPS):
    # The harness holds the program here until it has saved it often enough.
    while step == STEPS * 3 // 4 and not os.path.exists("go"):
        time.sleep(0.01)
    b = a @ a.T + 260 * numpy.eye(260)
    a += numpy.linalg.solve(b, a) + numbers.standard_normal(a.shape) / 100
    a /= numpy.linalg.norm(a) / 260
    # Threads may add in another order: not every bit is the same in two runs.
    print(step, hashlib.sha256(numpy.round(a, 6).tobytes()).hexdigest(), flush=True)
