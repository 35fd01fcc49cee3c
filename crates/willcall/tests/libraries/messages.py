"""Verifies a call's HTTP Message Signature (RFC 9421) as receivers in Python do: JSON in, one line
out."""

import base64
import json
import sys
from types import SimpleNamespace

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from http_message_signatures import HTTPMessageVerifier, algorithms
from http_message_signatures.resolvers import HTTPSignatureKeyResolver

given = json.load(sys.stdin)

ALGORITHMS = {
    "rfc9421_ed25519": algorithms.ED25519,
    "rfc9421_ecdsa_p256_sha256": algorithms.ECDSA_P256_SHA256,
    "rfc9421_hmac_sha256": algorithms.HMAC_SHA256,
}


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def public(jwk):
    if jwk["kty"] == "OKP":
        return ed25519.Ed25519PublicKey.from_public_bytes(decoded(jwk["x"]))
    x, y = (int.from_bytes(decoded(jwk[part])) for part in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


class Keys(HTTPSignatureKeyResolver):
    def resolve_public_key(self, key_id):
        if given["secret"]:
            return base64.b64decode(given["secret"].removeprefix("whsec_"))
        return public(next(key for key in given["keys"] if key["kid"] == key_id))


def verified(body, url):
    message = SimpleNamespace(method="POST", url=url, headers=given["headers"])
    verifier = HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[given["profile"]], key_resolver=Keys()
    )
    required = ("@method", "@authority", "@path", "@query", "content-digest")
    try:
        verifier.verify(message, require_components=required, body=body.encode())
        return True
    except Exception as error:
        return type(error).__name__


body, url = given["body"], given["url"]
names = {"http_message_signatures": verified}
print(
    json.dumps(
        [
            {name: check(*call) for name, check in names.items()}
            for call in [(body, url), (body + " ", url), (body, url + "x")]
        ]
    )
)
