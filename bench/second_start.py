#!/usr/bin/env python3
"""How long `script/server` takes until the city's address is printed, when everything is installed and built.

    bench/second_start.py [RUNS]

Runs it RUNS (5) times and once before, on free ports over one new data directory, and prints the median and the worst:
from the start of the script to the line with the address on its standard output."""
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BUDGET_S = 3.0

def time_start(root: str, env: dict) -> float:
    began = time.monotonic()
    server = subprocess.Popen([os.path.join(root, "script", "server")], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        for line in server.stdout:
            if "http://" in line:
                return time.monotonic() - began
        raise SystemExit(f"script/server ended with {server.wait()} before it printed an address")
    finally:
        server.send_signal(signal.SIGTERM)
        server.stdout.close()
        server.wait(timeout=30)

def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as data:
        env = dict(os.environ, DATA_DIR=data, HOST="127.0.0.1", PORT="0", INTERNAL_PORT="0")
        time_start(root, env)
        took = [time_start(root, env) for _ in range(runs)]
        print(f"second start: {statistics.median(took):.2f} s until the address is printed, worst {max(took):.2f} s "
              f"({runs} runs; budget {BUDGET_S:.0f} s)")

if __name__ == "__main__":
    main()
