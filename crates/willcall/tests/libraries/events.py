"""Reads a call as a CloudEvent with the library for Python, by both of its interfaces: JSON in, one
line out."""

import json
import sys

from cloudevents.core.bindings import http
from cloudevents.v1.http import from_http

given = json.load(sys.stdin)
headers, body = given["headers"], given["body"].encode()
new = http.from_http_event(http.HTTPMessage(headers=headers, body=body))
old = from_http(headers, body)
names = ("id", "source", "type", "datacontenttype", "time")
print(
    json.dumps(
        {
            "core": {
                **{name: str(new.get_attributes().get(name) or "") for name in names},
                "offset": str(new.get_time().utcoffset()),
                "data": new.get_data(),
            },
            "v1": {**{name: old[name] or "" for name in names}, "data": old.data},
        }
    )
)
