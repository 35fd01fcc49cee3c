#!/bin/sh
# A proxy that wants a password, and a client that has another.
set -eu
folder=$(mktemp -d)
trap 'kill "$proxy" 2>/dev/null || true; rm -rf "$folder"' EXIT
proxy=
cd "$folder"
apt-get download -qq tinyproxy-bin=1.11.1-2.1+deb12u1 2>/dev/null
dpkg-deb --extract tinyproxy-bin_*.deb .
cat >tinyproxy.conf <<'CONF'
Port 18973
Listen 127.0.0.1
Timeout 30
LogLevel Error
LogFile "/dev/null"
MaxClients 10
BasicAuth hall ticket
CONF
usr/bin/tinyproxy -d -c tinyproxy.conf >/dev/null 2>&1 &
proxy=$!
cat >seen.py <<'PYTHON'
import base64, socket, sys, time

def ask(password):
    lines = "CONNECT 127.0.0.1:9 HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"
    if password is not None:
        pair = base64.b64encode(f"hall:{password}".encode()).decode()
        lines += f"Proxy-Authorization: Basic {pair}\r\n"
    for _ in range(100):
        try:
            connection = socket.create_connection(("127.0.0.1", 18973), 5)
            break
        except OSError:
            time.sleep(0.05)
    connection.sendall((lines + "\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(4096)
        if not part:
            break
        head += part
    connection.close()
    lines = head.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    names = sorted(line.split(":")[0] for line in lines[1:] if "authenticate" in line.lower())
    return int(lines[0].split(" ")[1]), names

seen = {"no password": ask(None), "another password": ask("programme")}
for name, answer in seen.items():
    print(f"{name}: {answer}")
expected = {
    "no password": (407, ["Proxy-Authenticate"]),
    "another password": (401, ["WWW-Authenticate"]),
}
sys.exit(seen != expected)
PYTHON
echo "tinyproxy $(dpkg-deb --field tinyproxy-bin_*.deb Version)"
python3 seen.py
