import subprocess, time

child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
print("ready", flush=True)
time.sleep(20)
