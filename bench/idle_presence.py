#!/usr/bin/env python3
"""What an idle socket on the presence stream costs the real server: RSS per socket, and the CPU of its handshake.

    bench/idle_presence.py BINARY [SOCKETS]

Starts `BINARY up` on free ports, makes a token, opens SOCKETS sockets on /ws/city/presence?mode=rooms (each reads its
snapshot), and reads RSS and CPU time of the server from the operating system before and after."""
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile

def rss_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

def read_first_frame(conn: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += conn.recv(65536)
    if not got.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"no upgrade: {got[:200]!r}")
    rest = got.split(b"\r\n\r\n", 1)[1]
    while len(rest) < 4 or len(rest) < 4 + int.from_bytes(rest[2:4], "big"):
        rest += conn.recv(65536)

def main() -> None:
    binary = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as data:
        # One person at one address has them all here: counted as ever, and not limited.
        env = dict(os.environ, DATA_DIR=data, HOST="127.0.0.1", PORT="0", INTERNAL_PORT="0", LOG_FORMAT="json",
                   LIMIT_SOCKETS_PER_USER="1000000", LIMIT_CONNECTIONS_PER_ADDRESS="1000000")
        server = subprocess.Popen([binary, "up"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = 0
            for line in server.stderr:
                event = json.loads(line)
                if event["event"] == "server.listening" and event["listener"] == "public":
                    port = event["port"]
                if event["event"] == "daarion.ready":
                    break
            token = subprocess.run([binary, "token", "--sub=u_bench", "--name=Bench"], env=env, check=True,
                                   capture_output=True, text=True).stdout.strip()
            head = (f"GET /ws/city/presence?mode=rooms HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                    f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    f"Authorization: Bearer {token}\r\n\r\n").encode()

            def open_socket() -> socket.socket:
                conn = socket.create_connection(("127.0.0.1", port))
                conn.sendall(head)
                read_first_frame(conn)
                return conn

            warm = [open_socket() for _ in range(200)]
            before, cpu = rss_bytes(server.pid), cpu_seconds(server.pid)
            conns = [open_socket() for _ in range(count)]
            after, spent = rss_bytes(server.pid), cpu_seconds(server.pid) - cpu
            print(f"idle presence socket: {(after - before) / count:.0f} bytes RSS each ({count} sockets; budget 700), "
                  f"{count / spent if spent else 0:.0f} handshakes with token and snapshot per CPU second")
            for conn in warm + conns:
                conn.close()
        finally:
            server.send_signal(signal.SIGTERM)
            server.stderr.close()
            server.wait(timeout=30)

if __name__ == "__main__":
    main()
