"""Keeps a growing ledger: a dictionary, a generator, floats, big integers, a sorted list and a second file."""
import hashlib
import math
import os
import time


def amounts(seed):
    while True:
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        yield seed >> 33


ledger, history, total = {}, [], 0.0
source = amounts(42)
big = 1
with open("journal", "w") as journal:
    for step in range(40000):
        # The harness holds the program here until it has saved it often enough.
        while step == 30000 and not os.path.exists("go"):
            time.sleep(0.01)
        amount = next(source)
        account = f"account-{amount % 997}"
        ledger[account] = ledger.get(account, 0) + amount % 10007
        history.append((ledger[account], account))
        total += math.sqrt(amount)
        big = big * (amount % 9973 + 1) % 10**60
        if step % 100 == 0:
            history.sort()
            del history[:-500]
            digest = hashlib.sha256(repr(sorted(ledger.items())).encode()).hexdigest()
            print(f"{step} {len(ledger)} {total:.6f} {big} {digest}", flush=True)
        try:
            if amount % 101 == 0:
                raise ValueError(account)
        except ValueError as error:
            journal.write(f"{step} {error} {amount}\n")
            journal.flush()
        for _ in range(300):
            amount = (amount * 31 + 7) % 1000003
print(hashlib.sha256(repr(history).encode()).hexdigest())
