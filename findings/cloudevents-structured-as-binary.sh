#!/bin/sh
# The CloudEvents SDK for Python, and a structured call that also has ce- header lines.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    cloudevents==2.2.0 python-dateutil==2.9.0.post0
"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
from importlib.metadata import version

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.v1.http import from_http as from_http_v1

event = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop",
    "type": "order.paid",
    "datacontenttype": "application/json",
    "data": {"code": "A"},
}
body = json.dumps(event).encode()
plain = {"content-type": "application/cloudevents+json"}
copies = {f"ce-{name}": event[name] for name in ("specversion", "id", "source", "type")}


def data(headers):
    return from_http(HTTPMessage(headers, body), JSONFormat()).get_data()


def data_v1(headers):
    return from_http_v1(headers, body).data


print("cloudevents", version("cloudevents"))
seen = [data(plain), data({**plain, **copies}), data_v1(plain), data_v1({**plain, **copies})]
for name, value in zip(("plain", "with copies", "plain, v1", "with copies, v1"), seen):
    print(f"{name}: data is {json.dumps(value)}")
sys.exit(seen != [event["data"], event, event["data"], event["data"]])
PYTHON
