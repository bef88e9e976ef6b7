#!/usr/bin/env python3
"""What an idle socket on the presence stream costs the real server: RSS per socket, and the CPU of its handshake.

    bench/idle_presence.py BINARY [SOCKETS]

Starts `BINARY up` on free ports, opens SOCKETS sockets on /ws/city/presence?mode=rooms (each reads its snapshot), and
reads RSS and CPU time of the server from the operating system before and after: once with all sockets of one person
at one address, once with each of another person at another address. What the server remembers of tokens is bounded
and no part of a socket, so that memory is filled before."""
import base64
import hashlib
import hmac
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

SECRET = b"a secret of the benchmark, 32 bytes and more"
TOKENS_REMEMBERED = 8192  # src/auth/token.c

def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

def token_of(person: int) -> str:
    now = int(time.time())
    claims = {"sub": f"u_{person:032x}", "name": f"Person {person:010d}", "iat": now, "exp": now + 3600}
    signed = f'{b64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())}.{b64(json.dumps(claims).encode())}'
    return f"{signed}.{b64(hmac.new(SECRET, signed.encode(), hashlib.sha256).digest())}"

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

def fill_tokens(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as conn, conn.makefile("rb") as answers:
        for person in range(TOKENS_REMEMBERED):
            conn.sendall(f"GET /api/auth/me HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                         f"Authorization: Bearer {token_of(10**9 + person)}\r\n\r\n".encode())
            if not answers.readline().startswith(b"HTTP/1.1 200"):
                raise SystemExit("a token was refused")
            length = 0
            while (line := answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answers.read(length)

def measure(port: int, pid: int, count: int, is_crowd: bool) -> None:
    def open_socket(i: int) -> socket.socket:
        person = i if is_crowd else 0
        source = f"127.{1 + i // 62500}.{i // 250 % 250 + 1}.{i % 250 + 1}" if is_crowd else "127.0.0.1"
        conn = socket.create_connection(("127.0.0.1", port), source_address=(source, 0))
        conn.sendall(f"GET /ws/city/presence?mode=rooms HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                     f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     f"Authorization: Bearer {token_of(person)}\r\n\r\n".encode())
        read_first_frame(conn)
        return conn

    fill_tokens(port)
    conns = [open_socket(i) for i in range(200)]
    before, cpu = rss_bytes(pid), cpu_seconds(pid)
    conns += [open_socket(200 + i) for i in range(count)]
    after, spent = rss_bytes(pid), cpu_seconds(pid) - cpu
    whose = "each of another person at another address" if is_crowd else "all of one person"
    print(f"idle presence socket: {(after - before) / count:.0f} bytes RSS each ({count} sockets, {whose}; budget 700), "
          f"{count / spent if spent else 0:.0f} handshakes with token and snapshot per CPU second")
    for conn in conns:
        conn.close()

def run(binary: str, count: int, is_crowd: bool) -> None:
    with tempfile.TemporaryDirectory() as data:
        # One person at one address may have them all: counted as ever, and not limited.
        env = dict(os.environ, DATA_DIR=data, HOST="127.0.0.1", PORT="0", INTERNAL_PORT="0", LOG_FORMAT="json",
                   JWT_SECRET=SECRET.decode(), LIMIT_SOCKETS_PER_USER="1000000",
                   LIMIT_CONNECTIONS_PER_ADDRESS="1000000")
        server = subprocess.Popen([binary, "up"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = 0
            for line in server.stderr:
                event = json.loads(line)
                if event["event"] == "server.listening" and event["listener"] == "public":
                    port = event["port"]
                if event["event"] == "daarion.ready":
                    break
            measure(port, server.pid, count, is_crowd)
        finally:
            server.send_signal(signal.SIGTERM)
            server.stderr.close()
            server.wait(timeout=30)

def main() -> None:
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for is_crowd in (False, True):
        run(sys.argv[1], count, is_crowd)

if __name__ == "__main__":
    main()
