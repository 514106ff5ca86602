"""Threads of Python: a pool, locks, conditions, queues, thread-local data, and a library that computes without the interpreter's lock."""
import hashlib
import os
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

STEPS = 200
changed = threading.Condition()
own = threading.local()
lock = threading.RLock()
ticks = 0


def tick():
    global ticks
    while True:
        time.sleep(0.001)
        with changed:
            ticks += 1
            changed.notify_all()


def answer():
    own.count = 0
    while True:
        question = questions.get()
        own.count += len(question)
        answers.put(hashlib.sha256(question + str(own.count).encode()).digest())


def derive(password):
    return hashlib.pbkdf2_hmac("sha256", password, b"salt", 700)


questions, answers = queue.Queue(), queue.Queue()
for work in (tick, answer):
    threading.Thread(target=work, daemon=True).start()
state = b"start"
with ThreadPoolExecutor(6) as pool:
    for step in range(STEPS):
        # The harness holds the program here until it has saved it often enough.
        while step == STEPS * 3 // 4 and not os.path.exists("go"):
            time.sleep(0.01)
        parts = list(pool.map(derive, [state + bytes([i]) for i in range(8)]))
        with lock, lock:
            state = hashlib.sha256(b"".join(parts)).digest()
        questions.put(state)
        state = answers.get()
        if step % 10 == 0:
            with changed:
                before = ticks
                changed.wait_for(lambda: ticks > before)
        print(step, state.hex(), flush=True)
