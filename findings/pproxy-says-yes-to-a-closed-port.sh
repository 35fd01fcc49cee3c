#!/bin/sh
# SOCKS5, and a target that refuses connections.
set -eu
folder=$(mktemp -d)
trap 'kill "$proxy" 2>/dev/null || true; rm -rf "$folder"' EXIT
proxy=
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pproxy==2.7.9
venv/bin/pproxy -l socks5://127.0.0.1:18974 >/dev/null 2>&1 &
proxy=$!
cat >seen.py <<'PYTHON'
import socket, struct, sys, time

# Bound and not listening: whoever connects there is refused.
closed = socket.socket()
closed.bind(("127.0.0.1", 0))
port = closed.getsockname()[1]
for _ in range(200):
    try:
        connection = socket.create_connection(("127.0.0.1", 18974), 5)
        break
    except OSError:
        time.sleep(0.05)
connection.sendall(b"\x05\x01\x00")
assert connection.recv(2) == b"\x05\x00"
connection.sendall(b"\x05\x01\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack("!H", port))
reply = connection.recv(10)
connection.settimeout(10)
then = connection.recv(1)
print(f"reply {reply[1]} (0: succeeded, 5: connection refused), then {then!r}")
sys.exit((reply[1], then) != (0, b""))
PYTHON
venv/bin/pip list 2>/dev/null | grep pproxy
python3 seen.py
