#!/usr/bin/env python3
"""Warms up once and branches many runs from the image; then does the same runs without, and prints the time saved.

    branches.py [RUNS]
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import ckpt


def warm_up():
    """What takes long: here, the smallest prime factor of every number below half a million."""
    import asyncio, decimal, email, fractions, http.client, sqlite3, statistics, unittest, xml.dom.minidom  # noqa: E401, F401

    limit = 500_000
    factors = list(range(limit))
    for n in range(2, int(limit**0.5) + 1):
        if factors[n] == n:
            for multiple in range(n * n, limit, n):
                if factors[multiple] == multiple:
                    factors[multiple] = n
    return factors


def work(factors, n):
    """One run: the prime factors of a number."""
    found = []
    while n > 1:
        found.append(factors[n])
        n //= factors[n]
    return found


def program():
    """The program itself. With libckpt.so loaded, its image is taken when it is warm."""
    factors = warm_up()
    if ckpt.available() and not ckpt.checkpoint():
        return
    print(*work(factors, int(sys.stdin.readline())))


def compare(runs):
    """Runs the program both ways."""
    numbers = [499_979 - 17 * run for run in range(runs)]
    me = [sys.executable, __file__, "--program"]

    start = time.perf_counter()
    cold = [subprocess.run(me, input=f"{n}\n", capture_output=True, text=True, check=True).stdout for n in numbers]
    without = time.perf_counter() - start

    with tempfile.TemporaryDirectory() as folder:
        image = str(pathlib.Path(folder, "warm.ckpt"))
        start = time.perf_counter()
        subprocess.run(["ckpt", "run", "--image", image, *me], stdin=subprocess.DEVNULL, check=True)
        warm = [
            ckpt.branch(image, options=["--lazy"], input=f"{n}\n", capture_output=True, text=True, check=True).stdout
            for n in numbers
        ]
        with_image = time.perf_counter() - start

    assert warm == cold, "the runs differ"
    print(f"{runs} runs, each from the start: {without:.2f} s")
    print(f"{runs} runs from one image:       {with_image:.2f} s, the image included")
    print(f"saved: {without - with_image:.2f} s, {without / with_image:.1f} times as fast")


if __name__ == "__main__":
    if sys.argv[1:] == ["--program"]:
        program()
    else:
        compare(int(sys.argv[1]) if sys.argv[1:] else 20)
