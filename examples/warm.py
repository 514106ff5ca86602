import time

table = [n * n for n in range(1_000_000)]       # what takes long
print("ready", flush=True)
print("the square of", n := int(input()), "is", table[n])
