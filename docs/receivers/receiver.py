#!/usr/bin/env python3
"""A small, complete receiver of pretix webhooks. Needs Python 3.9 and nothing else.

    RECEIVER_PASSWORD=secret ./receiver.py --port 8000 --user willcall --seen seen.db

Every path takes calls. A call is written down before it is answered, worked on after it is
answered, and dropped if it was written down before. docs/receiving.md says why.
"""

import argparse
import base64
import hmac
import json
import os
import re
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 1024 * 1024
# A sender repeats a call for 3 days, and by hand for as long as its log goes back: 30 days.
SEEN_DAYS = 40
# Larger numbers lose digits in many JSON parsers, so two ids could look like one.
ID_MAX = 2**53 - 1


def work(notification):
    """Your part. Fetch what the notification names from the REST API, then act on that.

    May run twice for one notification if the process dies within it. If it raises, it runs again.
    """
    sender = notification.get("organizer") or notification.get("issuer_slug")
    line = f"{notification['notification_id']} {notification.get('action')} from {sender}"
    print(re.sub("[^ -~]", "?", line), flush=True)


class Seen:
    """Every call that was taken, on disk: what is new, what is left to do, what is a duplicate."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.bell = threading.Event()
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute("pragma synchronous = full")
        with self.db:
            self.db.execute(
                "create table if not exists seen (sender text, notification_id integer, "
                "taken_at real, body text, done integer default 0, "
                "primary key (sender, notification_id))"
            )
            self.db.execute("create index if not exists undone on seen (done) where done = 0")
            self.db.execute(
                "delete from seen where done = 1 and taken_at < ?",
                (time.time() - SEEN_DAYS * 86400,),
            )

    def take(self, sender, notification_id, body):
        """Durable when it returns. The primary key drops the duplicate, also of two at once."""
        with self.lock, self.db:
            self.db.execute(
                "insert or ignore into seen (sender, notification_id, taken_at, body) "
                "values (?, ?, ?, ?)",
                (sender, notification_id, time.time(), body),
            )
        self.bell.set()

    def work_forever(self):
        while True:
            self.bell.clear()
            with self.lock:
                undone = self.db.execute(
                    "select rowid, body from seen where done = 0 order by rowid limit 100"
                ).fetchall()
            failed = False
            for rowid, body in undone:
                try:
                    work(json.loads(body))
                    with self.lock, self.db:
                        self.db.execute("update seen set done = 1 where rowid = ?", (rowid,))
                except Exception as error:
                    failed = True
                    print(f"work failed, will be repeated: {error!r}", file=sys.stderr)
            if failed or not undone:
                self.bell.wait(10 if failed else None)


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # for a sender that connects and then says nothing

    def do_POST(self):
        length = self.headers.get("Content-Length")
        if length is None or "Transfer-Encoding" in self.headers:
            return self.answer(411, "a length is needed", keep=False)
        if not re.fullmatch("[0-9]{1,15}", length):
            return self.answer(400, "the length is not a number", keep=False)
        if int(length) > BODY_BYTES_MAX:
            return self.answer(413, "too large", keep=False)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            return self.answer(400, "the body broke off", keep=False)
        if not self.server.lets_in(self.headers.get("Authorization", "")):
            return self.answer(401, "wrong user or password")
        try:
            text = body.decode("utf-8")
            sender, notification_id = names_of(text)
        except (ValueError, RecursionError):
            return self.answer(400, "not a notification")
        try:
            self.server.seen.take(sender, notification_id, text)
        except sqlite3.Error as error:
            print(f"cannot write: {error}", file=sys.stderr)
            return self.answer(503, "cannot write it down")
        self.answer(204)

    def refuse_method(self):
        self.answer(405, "only POST", keep=False)

    do_GET = do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = refuse_method

    def answer(self, status, words="", keep=True):
        body = f"{words}\n".encode() if words else b""
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="receiver"')
        if status == 405:
            self.send_header("Allow", "POST")
        if status != 204:
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
        if not keep:
            # What was not read would be taken for the next request.
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def names_of(text):
    """What makes a notification the same one: who sent it, and its number there."""
    notification = json.loads(text, parse_constant=refuse_constant)
    if not isinstance(notification, dict):
        raise ValueError("not an object")
    sender = notification.get("organizer") or notification.get("issuer_slug") or ""
    number = notification.get("notification_id")
    if type(number) is not int or abs(number) > ID_MAX or type(sender) is not str:
        raise ValueError("no notification_id")
    sender.encode("utf-8")
    return sender, number


def refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, seen, user, password):
        self.seen = seen
        self.expected = None
        if user is not None:
            credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
            self.expected = f"Basic {credentials}".encode()
        super().__init__(("127.0.0.1", port), Receiver)

    def handle_error(self, request, client_address):
        """A caller that hangs up is no fault of ours: it calls again."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def lets_in(self, authorization):
        """Takes the same time whatever is wrong, so that it gives nothing away."""
        given = authorization.encode("utf-8", "replace")
        return self.expected is None or hmac.compare_digest(given, self.expected)


def main():
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Receives pretix webhooks on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=env("RECEIVER_PORT", "8000"))
    parser.add_argument("--user", default=env("RECEIVER_USER"))
    parser.add_argument("--password", default=env("RECEIVER_PASSWORD"))
    parser.add_argument("--seen", metavar="FILE", default=env("RECEIVER_SEEN", "seen.db"))
    options = parser.parse_args()
    if (options.user is None) != (options.password is None):
        parser.error("give both --user and --password, or neither")
    seen = Seen(options.seen)
    try:
        server = Server(options.port, seen, options.user, options.password)
    except OSError as error:
        sys.exit(f"cannot listen on port {options.port}: {error}")
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=seen.work_forever, daemon=True).start()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
