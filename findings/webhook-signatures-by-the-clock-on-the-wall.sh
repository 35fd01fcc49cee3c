#!/bin/sh
# Signing with the Standard Webhooks and Svix libraries for Python, at a time that is not in UTC.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    standardwebhooks==1.1.0 svix==2.9.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

import standardwebhooks
from svix import webhooks as svix

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
utc = datetime.now(timezone.utc).replace(microsecond=0)
berlin = utc.astimezone(timezone(timedelta(hours=2)))
assert utc == berlin
seen = []
for name, library in (("standardwebhooks", standardwebhooks), ("svix", svix)):
    webhook = library.Webhook(SECRET)
    print(name, version(name))
    for at in (utc, berlin):
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": webhook.sign("msg_1", at, "{}"),
        }
        try:
            webhook.verify("{}", headers)
            said = "verified"
        except library.WebhookVerificationError as error:
            said = str(error)
        print(f"  signed at {at.isoformat()}: {said}")
        seen.append(said)
sys.exit(seen != ["verified", "No matching signature found"] * 2)
PYTHON
