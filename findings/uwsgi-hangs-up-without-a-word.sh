#!/bin/sh
# uWSGI with `--http` as its quickstart has it, and a client of HTTP/1.1. Needs cc.
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -INT "$server"; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check wheel==0.45.1 uwsgi==2.0.31 \
    2>"$folder/pip" || { cat "$folder/pip"; exit 2; }
cat >"$folder/app.py" <<'PYTHON'
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
PYTHON
free='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
port=$(python3 -c "$free")
echo "uWSGI $("$folder/venv/bin/uwsgi" --version)"
"$folder/venv/bin/uwsgi" --http "127.0.0.1:$port" --wsgi-file "$folder/app.py" \
    >"$folder/log" 2>&1 &
server=$!
python3 - "$port" <<'PYTHON'
import socket
import sys
import time

address = ("127.0.0.1", int(sys.argv[1]))
for _ in range(200):
    try:
        stream = socket.create_connection(address, 10)
        break
    except OSError:
        time.sleep(0.05)
stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
began, answer = time.monotonic(), b""
while piece := stream.recv(4096):
    answer += piece
took = time.monotonic() - began
print(answer.decode())
print(f"closed after {took:.1f} s")
lines = answer.lower().split(b"\r\n")
told = any(line.startswith(b"connection:") for line in lines)
sys.exit(not answer.startswith(b"HTTP/1.1 200 ") or told or took > 5)
PYTHON
