"""python3 with a dict of a million, in the language of the victims: see victim.rs."""
import os
import signal
import sys
import time

now = time.monotonic_ns
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
        pid = os.getpid()
        sent = now()
        os.kill(pid, signal.SIGUSR2)
        back = now()
        if os.getpid() == pid:
            answer(0, sent, back)
        else:
            answer(1, back)
    elif line == "sum\n":
        answer(checksum())
