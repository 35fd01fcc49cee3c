// Verifies a call's HTTP Message Signature (RFC 9421) as receivers in JavaScript do: JSON in, one
// line out.
import { createHash, createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createVerifier, httpbis } from "http-message-signatures";
import { verifySignature } from "http-message-sig";

const { profile, headers, body, url, secret, keys } = JSON.parse(readFileSync(0));
const algorithm = {
  rfc9421_ed25519: "ed25519",
  rfc9421_ecdsa_p256_sha256: "ecdsa-p256-sha256",
  rfc9421_hmac_sha256: "hmac-sha256",
}[profile];
const required = ["@method", "@authority", "@path", "@query", "content-digest"];

function keyOf(id) {
  if (secret) return Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  return createPublicKey({ key: keys.find((key) => key.kid === id), format: "jwk" });
}

// Neither library compares the digest with the body.
function checkDigest(text) {
  const wanted = createHash("sha256").update(text).digest("base64");
  if (headers["content-digest"] !== `sha-256=:${wanted}:`) throw new RangeError("digest");
}

const checks = {
  "http-message-signatures": async (text, target) => {
    checkDigest(text);
    const keyLookup = async ({ keyid }) => ({
      id: keyid,
      algs: [algorithm],
      verify: createVerifier(keyOf(keyid), algorithm),
    });
    const requiredParams = ["created", "keyid"];
    const config = { keyLookup, maxAge: 300, requiredParams, requiredFields: required };
    const message = { method: "POST", url: target, headers };
    if (!(await httpbis.verifyMessage(config, message))) throw new TypeError("false");
  },
  "http-message-sig": async (text, target) => {
    checkDigest(text);
    const fields = Object.entries(headers).map(([name, value]) => ({ name, value }));
    const message = { kind: "request", method: "POST", targetUri: target, fields };
    const resolveVerifier = ({ parameters }) => ({
      algorithm,
      verify(data, signature) {
        const key = keyOf(parameters.keyid);
        if (algorithm === "hmac-sha256") {
          const wanted = createHmac("sha256", key).update(data).digest();
          return wanted.length === signature.length && timingSafeEqual(wanted, signature);
        }
        const elliptic = algorithm === "ecdsa-p256-sha256";
        const named = { key, dsaEncoding: "ieee-p1363" };
        return verify(elliptic ? "sha256" : null, data, named, signature);
      },
    });
    const policy = {
      algorithms: [algorithm],
      requiredComponents: required,
      requiredParameters: ["created", "keyid"],
      maxAge: 300,
    };
    await verifySignature(message, { policy, resolveVerifier });
  },
};

async function verified(text, target) {
  const result = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check(text, target);
      result[name] = true;
    } catch (error) {
      result[name] = error.constructor.name;
    }
  }
  return result;
}

const calls = [[body, url], [body + " ", url], [body, url + "x"]];
console.log(JSON.stringify(await Promise.all(calls.map((call) => verified(...call)))));
