import time

total = 0
for step in range(20):
    total += step * step
    print(step, total, flush=True)
    time.sleep(0.5)
