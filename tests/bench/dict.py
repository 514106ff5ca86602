"""python3 with a dict of a million, in the language of the victims: see victim.rs."""
import ctypes
import os
import signal
import sys
import time

now = time.monotonic_ns
restarts = ctypes.CDLL(None).ckpt_restarts
table = {f"key {i}": i * 7 for i in range(int(sys.argv[1]))}


def answer(*numbers):
    print(*numbers, flush=True)


def checksum():
    total = 0
    for key, value in table.items():
        total = (total * 31 + len(key) + value) % (1 << 61)
    return total


answer(checksum())
for line in sys.stdin:
    if line == "fork\n":
        before = now()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        took = now() - before
        os.waitpid(pid, 0)
        answer(took)
    elif line == "stop\n":
        before = restarts()
        pid = os.getpid()
        sent = now()
        os.kill(pid, signal.SIGUSR2)
        back, wall = now(), time.time_ns()
        if restarts() == before:
            answer(0, sent, back)
        else:
            answer(1, wall)
    elif line == "sum\n":
        answer(checksum())
