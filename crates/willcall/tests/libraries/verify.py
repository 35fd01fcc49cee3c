"""Verifies a call with the libraries that receivers in Python use: one line of JSON in, one out."""

import json
import sys

import standardwebhooks
import stripe
import svix

given = json.load(sys.stdin)
headers, secrets = given["headers"], given["secrets"]


def verified(body):
    checks = {
        "standardwebhooks": lambda: standardwebhooks.Webhook(secrets["standard"]).verify(
            body, headers
        ),
        "svix": lambda: svix.Webhook(secrets["standard"]).verify(body, headers),
        "stripe": lambda: stripe.WebhookSignature.verify_header(
            body, headers["stripe-signature"], secrets["stripe"], 300
        ),
    }
    result = {}
    for name, check in checks.items():
        try:
            check()
            result[name] = True
        except Exception as error:
            result[name] = type(error).__name__
    return result


print(json.dumps([verified(given["body"]), verified(given["body"] + " ")]))
