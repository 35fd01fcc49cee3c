#!/usr/bin/env python3
"""Tries the Debian package in a clean root: install, start, one call, upgrade, remove, purge.

    packaging/try_deb.py OLD.deb NEW.deb CLEAN-ROOT.tar

Needs root, and no systemd: it starts the program by the unit's ExecStart, as the unit's user. The
system calls that it makes meanwhile are held against the unit's filter.
"""

import atexit
import http.client
import http.server
import json
import os
import pathlib
import queue
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 60
TOKEN = "a-token-of-some-length-for-the-tests"
API = "/api/v1/organizers/bigevents"
UNIT = "usr/lib/systemd/system/willcall.service"
CONFIG = "/etc/willcall/willcall.toml"

# What somebody who installs it finds: the path and whether it can be run.
CONTENTS = {
    "usr/bin/willcall": True,
    UNIT: False,
    "usr/share/man/man1/willcall.1.gz": False,
    "usr/share/bash-completion/completions/willcall": False,
    "usr/share/zsh/vendor-completions/_willcall": False,
    "usr/share/fish/vendor_completions.d/willcall.fish": False,
    "usr/share/doc/willcall/README.Debian": False,
    "usr/share/doc/willcall/copyright": False,
    "usr/share/doc/willcall/operating.md": False,
    "usr/share/doc/willcall/upgrading.md": False,
    "usr/share/doc/willcall/examples/tenants.toml": False,
    "etc/willcall/willcall.toml": False,
}


def run(*command, status=0):
    """Standard output and error of a command that ends as it should."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def check(holds, words):
    if not holds:
        sys.exit(words)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the status that is set, and keeps the calls that it answered with 200."""

    status = 200
    calls = queue.Queue()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = Receiver.status
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if status == 200:
            Receiver.calls.put(body["code"])

    def log_message(self, *_):
        pass


class Root:
    """The clean root, and the program that runs in it."""

    def __init__(self, folder, archive):
        self.path = pathlib.Path(folder) / "root"
        self.path.mkdir()
        # Devices cannot be made in every container; what is needed of them is bound or written.
        run("tar", "-xf", archive, "-C", self.path, "--exclude=./dev/*")
        (self.path / "dev").mkdir(exist_ok=True)
        for device in ("null", "urandom", "random", "zero"):
            run("cp", "-a", f"/dev/{device}", self.path / "dev" / device)
        (self.path / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        (self.path / "usr/sbin/policy-rc.d").chmod(0o755)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    def chroot(self, *command, status=0):
        return run("chroot", self.path, *command, status=status)

    def willcall(self, *command):
        """A command as the guide has it: as the service's user, with the service's settings."""
        name, *more = command
        return self.chroot_as_user("/usr/bin/willcall", name, "--config", CONFIG, *more)

    def chroot_as_user(self, *command):
        return run("chroot", "--userspec=willcall:willcall", self.path, *command)

    def install(self, package):
        shutil.copy(package, self.path / "willcall.deb")
        return self.chroot("dpkg", "--install", "/willcall.deb")

    def unit(self, key):
        text = (self.path / UNIT).read_text()
        return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)

    def start(self, trace=None):
        """Starts the service as systemd would."""
        variables = dict(one.strip('"').split("=", 1) for one in self.unit("Environment"))
        user, group = self.unit("User")[0], self.unit("Group")[0]
        # No more than a container lets root have.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = min(int(self.unit("LimitNOFILE")[0]), hard)
        command = ["prlimit", f"--nofile={files}"]
        command += ["chroot", f"--userspec={user}:{group}", self.path]
        command += self.unit("ExecStart")[0].split(" ")
        if trace:
            command = ["strace", "-f", "-qq", "--signal=none", "-o", trace, *command]
        umask = int(self.unit("UMask")[0], 8)
        with open(self.path.parent / "log", "a", encoding="utf-8") as log:
            child = subprocess.Popen(
                command, stdout=log, stderr=log, env=variables | {"PATH": os.environ["PATH"]},
                umask=umask, start_new_session=True,
            )
        atexit.register(end, child)
        begun = time.monotonic()
        while True:
            try:
                status, _ = self.ask("GET", "/readyz")
                if status == 200:
                    return child
            except OSError:
                pass
            if child.poll() is not None or time.monotonic() - begun > PATIENCE:
                sys.exit("it does not start: " + (self.path.parent / "log").read_text())
            time.sleep(0.05)

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {"Authorization": f"Token {TOKEN}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def hand_in(self, code):
        body = {"event": "democon", "action": "pretix.event.order.paid", "code": code}
        status, text = self.ask("POST", f"{API}/notifications/", body)
        check(status == 201, f"{status} {text}")


def end(child):
    """Leaves nothing running, whatever went wrong."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def stop(child):
    """Ends the service, and the tracer with it."""
    os.killpg(child.pid, signal.SIGTERM)
    check(child.wait(PATIENCE) == 0, "it does not end with exit status 0")


def system_calls(group, known={}):
    """The names that a group of systemd's stands for."""
    if not known:
        name = None
        for line in run("systemd-analyze", "--no-pager", "syscall-filter").splitlines():
            if line.startswith("@"):
                name = known.setdefault(line, [])
            elif name is not None and line.startswith("    ") and "#" not in line:
                name.append(line.strip())
    names = set()
    for member in known[group]:
        names |= system_calls(member) if member.startswith("@") else {member}
    return names


def held_against_filter(root, trace):
    """No call that the service made while it was traced is one that the unit refuses."""
    allowed, refused = set(), set()
    for line in root.unit("SystemCallFilter"):
        into = refused if line.startswith("~") else allowed
        for group in line.lstrip("~").split(" "):
            into |= system_calls(group)
    calls = trace.read_text().partition('execve("/usr/bin/willcall"')[2]
    made = set(re.findall(r"^\d+ +(\w+)\(", calls, re.MULTILINE))
    check(len(made) > 30, f"hardly anything was traced: {made}")
    wrong = made - (allowed - refused)
    check(not wrong, f"the unit does not let it call {sorted(wrong)}")
    return len(made)


def await_end_of(root, webhook, count):
    """Waits until so many deliveries of the webhook are written down as delivered."""
    begun = time.monotonic()
    while True:
        _, log = root.ask("GET", f"{API}/webhooks/{webhook}/deliveries/")
        if log.count('"status":"delivered"') + log.count('"status": "delivered"') == count:
            return
        check(time.monotonic() - begun < PATIENCE, log)
        time.sleep(0.05)


def configure(root):
    """What an operator does between the installation and the first start."""
    config = root.path / CONFIG.lstrip("/")
    mine = f'listen = "127.0.0.1:{root.port}"\nallow_private_targets = "127.0.0.1"\n'
    config.write_text(config.read_text() + mine)
    example = root.path / "usr/share/doc/willcall/examples/tenants.toml"
    tenants = example.read_text().replace(
        'name = "integration"\n', f'name = "integration"\ntoken = "{TOKEN}"\n'
    )
    check(TOKEN in tenants, "the example has another form")
    (root.path / "tenants.toml").write_text(tenants)
    root.willcall("apply", "/tenants.toml")
    return config, mine


def installed(root, package):
    said = root.install(package)
    check("not started yet" in said, said)
    for path, runs in CONTENTS.items():
        file = root.path / path
        check(file.is_file(), f"the package lacks {path}")
        check(bool(file.stat().st_mode & 0o111) == runs, f"{path} has the wrong mode")
    settings = (root.path / CONFIG.lstrip("/")).parent
    check(settings.stat().st_mode & 0o777 == 0o750, "everybody reads /etc/willcall")
    data = root.path / "var/lib/willcall"
    check(data.stat().st_mode & 0o777 == 0o700, "everybody reads /var/lib/willcall")
    links = list((root.path / "etc/systemd/system").rglob("willcall.service"))
    check(not links, f"the service is enabled: {links}")
    exposure = ["security", "--offline=true", "--threshold=15", f"--root={root.path}"]
    run("systemd-analyze", "--no-pager", *exposure, "willcall.service")


def life(folder, older, newer, archive, target):
    root = Root(folder, archive)
    installed(root, older)
    config, mine = configure(root)
    trace = root.path.parent / "trace"
    server = root.start(trace)
    webhook = {"target_url": target, "all_events": True, "limit_events": []}
    webhook["action_types"] = ["pretix.event.order.paid"]
    status, answer = root.ask("POST", f"{API}/webhooks/", webhook)
    check(status == 201, f"{status} {answer}")
    webhook = json.loads(answer)["id"]
    root.hand_in("FIRST")
    check(Receiver.calls.get(timeout=PATIENCE) == "FIRST", "another call came")
    await_end_of(root, webhook, 1)
    root.willcall("backup", "/var/lib/willcall/backup")
    # This one is still owed when the package is upgraded.
    Receiver.status = 503
    root.hand_in("SECOND")
    stop(server)
    made = held_against_filter(root, trace)
    print(f"installed, started, called; {made} kinds of system calls, all let through by the unit")

    said = root.install(newer)
    check("not started yet" not in said and mine in config.read_text(), said)
    Receiver.status = 200
    server = root.start()
    root.hand_in("THIRD")
    codes = {Receiver.calls.get(timeout=PATIENCE) for _ in range(2)}
    check(codes == {"SECOND", "THIRD"}, f"{codes}")
    await_end_of(root, webhook, 3)
    stop(server)
    print("upgraded: settings and log are there, and what was owed was delivered")

    root.chroot("dpkg", "--remove", "willcall")
    check(not (root.path / "usr/bin/willcall").exists(), "the program is left")
    check(mine in config.read_text(), "the settings are gone before the purge")
    said = root.chroot("dpkg", "--purge", "willcall")
    check("data are kept in /var/lib/willcall" in said, said)
    check(not config.parent.exists(), "the settings are left")
    check((root.path / "var/lib/willcall/willcall.db").exists(), "the data are gone")
    print("removed and purged: the data are kept")


def main():
    older, newer, archive = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = f"http://127.0.0.1:{server.server_address[1]}/"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        life(folder, older, newer, archive, target)


if __name__ == "__main__":
    main()
