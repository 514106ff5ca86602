#!/usr/bin/env python3
"""work.py SECONDS: takes about that long, and writes a line to `progress` for each step; the result goes to standard output.

It knows nothing of checkpoints. Saved and restarted, its lines and its result are those of a run that nobody interrupted.
"""

import hashlib
import sys
import time

steps = int(float(sys.argv[1]) * 10)
digest = hashlib.sha256()
with open("progress", "w", buffering=1) as progress:
    for step in range(steps):
        digest.update(str(step).encode())
        progress.write(f"{step} {digest.hexdigest()[:8]}\n")
        time.sleep(0.1)
print(f"{steps} steps, result {digest.hexdigest()[:16]}")
