#!/usr/bin/env python3
"""Calls real servers with a real Willcall, and checks that no call ends as failed at a healthy one.

    nightly/receivers.py [--willcall FILE] [--only NAME] [--install]

Each server answers every POST with success. It is started with the time that it keeps idle
connections by default, and with 2 s. Webhooks of OpenTicket with `retries` 0 lead to it, so a call
that is lost is lost for good. Three things are done:

- bursts: 5 of 200 calls to one webhook
- edges: calls that come just when the server closes an idle connection. Each webhook has an address
  of its own (127.0.1.1 and so on), since what Willcall has seen of one it remembers
- reloads: Apache, nginx and HAProxy load their settings anew during further bursts

Prints a table, and exits with 1 if any call ended as failed. Needs Debian's packages apache2,
nginx-light, haproxy, nodejs, golang-go, python3-venv, python3-dev and gcc; `--install` installs
them (as root). uWSGI and gunicorn come from PyPI, in the versions below, into a temporary folder.
It is no part of ./test.sh: it takes ten minutes, and what it installs is large.
"""

import argparse
import collections
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PACKAGES = ["wheel==0.45.1", "uwsgi==2.0.31", "gunicorn==27.0.1"]
DEBIAN = (
    "apache2 nginx-light haproxy nodejs golang-go python3-venv python3-dev gcc".split()
)
PROGRAMS = ["apache2", "nginx", "haproxy", "node", "go"]

COMPANY = "d0a3f370-cd43-11ed-9c9c-bbcffde24a48"
GUID = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10"
TOKEN = "nightly-token-nightly-token"

BURSTS, BURST_CALLS = 5, 200
# How far from the edge, in seconds, and so many places at each distance.
DISTANCES = [-0.03, -0.01, -0.005, -0.003, -0.002, -0.001, 0.0, 0.001, 0.003, 0.01, 0.03]
PLACES = 20
EDGES = 2
# Willcall keeps an idle connection for so long, whatever its receiver bears.
OWN_SECONDS = 4.0
# A pair of resource and trigger for the bursts, and one for each distance.
RESOURCES = ["order", "ticket", "event", "product", "shop", "scanner"]
PAIRS = [(res, trig) for trig in ("create", "update") for res in RESOURCES]

WSGI = """
def application(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]
"""

NODE = """
const server = require("http").createServer((request, response) => {
  request.resume();
  request.on("end", () => response.end("ok"));
});
if (process.argv[3]) server.keepAliveTimeout = Number(process.argv[3]) * 1000;
server.listen(Number(process.argv[2]), "0.0.0.0");
"""

GO = """
package main

import (
    "io"
    "net/http"
    "os"
    "strconv"
    "time"
)

func main() {
    handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
        io.Copy(io.Discard, r.Body)
        io.WriteString(w, "ok")
    })
    server := &http.Server{Addr: "0.0.0.0:" + os.Args[1], Handler: handler}
    if len(os.Args) > 2 {
        seconds, _ := strconv.Atoi(os.Args[2])
        server.IdleTimeout = time.Duration(seconds) * time.Second
    }
    panic(server.ListenAndServe())
}
"""

APACHE = """
ServerRoot {folder}
ServerName localhost
Listen 0.0.0.0:{port}
PidFile {folder}/pid
ErrorLog {folder}/error
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
{keeps}
RewriteEngine on
RewriteRule ^ - [R=204,L]
"""

NGINX = """
pid {folder}/pid;
error_log {folder}/error;
worker_processes 2;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {keeps}
    server {{
        listen 0.0.0.0:{port};
        location / {{ return 204; }}
    }}
}}
"""

HAPROXY = """
global
    stats socket {folder}/socket level admin
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
    {keeps}
frontend all
    bind 0.0.0.0:{port}
    http-request return status 200 content-type text/plain string ok
"""


class Server:
    """A server that runs: how it is started, and how it loads its settings anew, if it is asked."""

    def __init__(self, name, seconds, default, command, reload=None):
        self.name, self.seconds, self.command = name, seconds, command
        # The time that its idle connections are kept: of edges that it never meets ours is tried.
        self.edge = min(seconds or default or OWN_SECONDS, OWN_SECONDS)
        self.reload = reload


def servers(folder, port):
    """All servers, with the default time and with 2 s. `folder` has the packages of PyPI."""
    bin = folder / "venv/bin"
    wsgi, node, go = folder / "wsgi.py", folder / "server.js", folder / "go/server"

    def configured(name, text, keeps, start, reload):
        place = folder / f"{name}-{len(keeps)}"
        place.mkdir()
        file = place / "settings"
        file.write_text(text.format(folder=place, port=port, keeps=keeps))
        return [part.format(file=file) for part in start], reload and reload(file, place)

    for seconds in (None, 2):
        given = [str(seconds)] if seconds else []
        uwsgi = [bin / "uwsgi", "--http", f"0.0.0.0:{port}", "--wsgi-file", wsgi]
        uwsgi += ["--processes", "4", "--master", "--disable-logging", "--die-on-term"]
        keeps = [f"--http-keepalive={seconds}"] if seconds else []
        yield Server("uWSGI --http", seconds, None, uwsgi + keeps)
        gunicorn = [bin / "gunicorn", "-b", f"0.0.0.0:{port}", "--worker-class", "gthread"]
        gunicorn += ["--workers", "2", "--threads", "8", "--chdir", folder, "wsgi:application"]
        keeps = ["--keep-alive", "2"] if seconds else []
        yield Server("gunicorn gthread", seconds, 2, gunicorn + keeps)
        command, reload = configured(
            "apache",
            APACHE,
            f"KeepAliveTimeout {seconds}" if seconds else "",
            ["apache2", "-d", str(folder), "-f", "{file}", "-D", "FOREGROUND"],
            lambda file, _: ["apache2", "-f", file, "-k", "graceful"],
        )
        yield Server("Apache", seconds, 5, command, reload)
        command, reload = configured(
            "nginx",
            NGINX,
            f"keepalive_timeout {seconds}s;" if seconds else "",
            ["nginx", "-c", "{file}", "-g", "daemon off;"],
            lambda file, _: ["nginx", "-c", file, "-s", "reload"],
        )
        yield Server("nginx", seconds, 75, command, reload)
        command, reload = configured(
            "haproxy",
            HAPROXY,
            f"timeout http-keep-alive {seconds}s" if seconds else "",
            ["haproxy", "-W", "-f", "{file}"],
            lambda *_: signal.SIGUSR2,
        )
        yield Server("HAProxy", seconds, 30, command, reload)
        yield Server("Node", seconds, 5, ["node", node, str(port)] + given)
        yield Server("Go net/http", seconds, None, [go, str(port)] + given)


def free_port():
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def until(said, done, seconds=60):
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s in vain: {said}")
        time.sleep(0.02)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Willcall:
    """A server of its own for one receiver, with a fresh store."""

    def __init__(self, program, folder):
        self.port = free_port()
        file = folder / "company.toml"
        file.write_text(
            f'[[company]]\nguid = "{COMPANY}"\ntoken = [{{ name = "t", token = "{TOKEN}", '
            'permissions = ["webhooks:write", "triggers:write"] }]\n'
        )
        data = ["--data-dir", folder / "data"]
        applied = [program, "apply", *data, file]
        subprocess.run(applied, check=True, stdout=subprocess.DEVNULL)
        serve = [program, "serve", *data, "--listen", f"127.0.0.1:{self.port}"]
        serve += ["--allow-private-targets", "all", "--log-level", "error"]
        self.process = subprocess.Popen(serve)
        until("Willcall listens", lambda: listens(self.port))
        self.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        self.asked = 0
        self.hooks = []

    def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        self.line.request(method, path, body and json.dumps(body), headers)
        answer = self.line.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return text

    def hook(self, url, pair):
        resource, trigger = pair
        hook = {"name": url, "url": url, "resource": resource, "trigger": trigger, "retries": 0}
        self.hooks.append(json.loads(self.ask("POST", "/webhook", hook))["guid"])

    def trigger(self, pair, deliveries):
        resource, trigger = pair
        body = {"resource": resource, "trigger": trigger, "guid": GUID, "data": {"a": 1}}
        self.ask("POST", "/trigger", body)
        self.asked += deliveries

    def outcomes(self):
        """Attempts by what came of them."""
        found = re.findall(
            r'^willcall_attempts_total\{outcome="(\w+)"\} (\d+)', self.ask("GET", "/metrics"), re.M
        )
        return collections.Counter({name: int(count) for name, count in found})

    def told(self):
        """What the log says of calls that failed."""
        paths = [f"/webhook/{guid}/invocations?status=failed" for guid in self.hooks]
        lists = [self.ask("GET", path) for path in paths]
        failed = [invocation for text in lists for invocation in json.loads(text)]
        return "".join(
            f"  {one['created_at']} to {one['last_attempt_at']}: {one['error']}\n"
            for one in failed[:5]
        )

    def settle(self):
        """Waits until every call has ended."""

        def done():
            outcomes = self.outcomes()
            return sum(outcomes.values()) - outcomes["stale_connection"] >= self.asked

        until("every call has ended", done, 120)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def bursts(willcall, count):
    for _ in range(count):
        for _ in range(BURST_CALLS):
            willcall.trigger(PAIRS[0], 1)
        willcall.settle()
        time.sleep(0.3)


def edges(willcall, server):
    """Two calls to each place, as far apart as the server keeps connections, more or less; and
    again, when Willcall has seen what came of it."""
    for _ in range(EDGES):
        due = []
        for pair, distance in zip(PAIRS[1:], DISTANCES):
            willcall.trigger(pair, PLACES)
            due.append((time.monotonic() + server.edge + distance, pair))
        for at, pair in due:
            time.sleep(max(0.0, at - time.monotonic()))
            willcall.trigger(pair, PLACES)
        willcall.settle()


def reloads(willcall, server, process):
    """Bursts while the server loads its settings anew."""
    over = threading.Event()

    def again():
        while not over.wait(0.5):
            if isinstance(server.reload, signal.Signals):
                process.send_signal(server.reload)
            else:
                subprocess.run(server.reload, check=True, stderr=subprocess.DEVNULL)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        for _ in range(BURSTS):
            for _ in range(BURST_CALLS):
                willcall.trigger(PAIRS[0], 1)
                time.sleep(0.01)
        willcall.settle()
    finally:
        over.set()
        thread.join()


def run(program, server, port):
    """What was counted at a server: calls, second calls on new connections, failed, by phase."""
    log = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [str(part) for part in server.command], stdout=log, stderr=log, start_new_session=True
    )
    rows = []
    try:
        until(f"{server.name} listens", lambda: listens(port) or process.poll() is not None)
        if process.poll() is not None:
            log.seek(0)
            raise SystemExit(f"{server.name} does not start: {log.read().decode()}")
        phases = [("bursts", lambda w: bursts(w, BURSTS)), ("edges", lambda w: edges(w, server))]
        if server.reload:
            phases.append(("reloads", lambda w: reloads(w, server, process)))
        for phase, work in phases:
            with tempfile.TemporaryDirectory() as folder:
                willcall = Willcall(program, Path(folder))
                try:
                    willcall.hook(f"http://127.0.0.1:{port}/", PAIRS[0])
                    for number, (pair, _) in enumerate(zip(PAIRS[1:], DISTANCES)):
                        for place in range(PLACES):
                            address = f"127.0.{number + 1}.{place + 1}"
                            willcall.hook(f"http://{address}:{port}/", pair)
                    work(willcall)
                    outcomes = willcall.outcomes()
                    stale = outcomes.pop("stale_connection", 0)
                    outcomes.pop("2xx", 0)
                    failed = {name: count for name, count in outcomes.items() if count}
                    if failed:
                        print(f"{server.name}, {phase}:\n{willcall.told()}", file=sys.stderr)
                finally:
                    willcall.stop()
            rows.append((phase, willcall.asked, stale, failed))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    return rows


def prepare(folder):
    (folder / "wsgi.py").write_text(WSGI)
    (folder / "server.js").write_text(NODE)
    (folder / "go").mkdir()
    (folder / "go/server.go").write_text(GO)
    build = ["go", "build", "-o", folder / "go/server", folder / "go/server.go"]
    environment = {**os.environ, "GOCACHE": str(folder / "go/cache"), "GO111MODULE": "off"}
    subprocess.run(build, check=True, env=environment)
    # Debian's own: another Python may lack what uWSGI is linked with.
    subprocess.run(["/usr/bin/python3", "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PACKAGES], check=True, stderr=subprocess.DEVNULL)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--willcall", default="target/release/willcall")
    arguments.add_argument("--only", default="", help="servers whose name begins so")
    arguments.add_argument("--install", action="store_true", help="install Debian's packages")
    given = arguments.parse_args()
    if given.install:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise SystemExit(f"not there: {', '.join(missing)}. Install them with --install.")
    program = shutil.which(given.willcall)
    if not program:
        raise SystemExit(f"{given.willcall} is not there: cargo build --release")
    program = str(Path(program).resolve())
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        folder, port = Path(folder), free_port()
        prepare(folder)
        print("| server | keeps idle ones | what | calls | second calls | failed |")
        print("|---|---|---|---|---|---|")
        for server in servers(folder, port):
            if not server.name.lower().startswith(given.only.lower()):
                continue
            keeps = f"{server.seconds} s" if server.seconds else "by default"
            for phase, calls, stale, failed in run(program, server, port):
                lost += sum(failed.values())
                words = ", ".join(f"{count} {name}" for name, count in failed.items()) or "0"
                row = [server.name, keeps, phase, str(calls), str(stale), words]
                print(f"| {' | '.join(row)} |", flush=True)
    if lost:
        print(f"{lost} calls ended as failed at healthy servers", file=sys.stderr)
        sys.exit(1)


main()
