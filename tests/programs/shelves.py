"""SQLite with threads: four that share one connection, whose mutexes are recursive, and sorts that SQLite spreads over threads of its own."""
import hashlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

STEPS = 60
shelves = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
shelves.execute("pragma threads = 3")
shelves.execute("pragma cache_size = 20")
shelves.execute("create table book (shelf, number, title)")


def fill(shelf, step):
    seed = shelf * 1000 + step
    for number in range(60):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        row = (shelf, step * 60 + number, f"title {seed >> 40}")
        shelves.execute("insert into book values (?, ?, ?)", row)


def look(shelf):
    query = "select count(*), min(title), max(title) from (select title from book where shelf = ? order by title)"
    return shelves.execute(query, [shelf]).fetchall()


with ThreadPoolExecutor(4) as pool:
    for step in range(STEPS):
        # The harness holds the program here until it has saved it often enough.
        while step == STEPS * 3 // 4 and not os.path.exists("go"):
            time.sleep(0.01)
        list(pool.map(fill, range(4), [step] * 4))
        found = repr(list(pool.map(look, range(4))))
        if step % 20 == 10:
            shelves.execute("drop index if exists title")
            shelves.execute("create index title on book (title, shelf, number)")
        print(step, hashlib.sha256(found.encode()).hexdigest(), flush=True)
