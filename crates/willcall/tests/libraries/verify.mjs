// Verifies a call with the libraries that receivers in JavaScript use: JSON in, one line out.
import { readFileSync } from "node:fs";
import { verify } from "@octokit/webhooks-methods";
import { Webhook } from "standardwebhooks";
import { Webhook as Svix } from "svix";
import Stripe from "stripe";

const { headers, body, secrets } = JSON.parse(readFileSync(0));

async function verified(text) {
  const checks = {
    standardwebhooks: () => new Webhook(secrets.standard).verify(text, headers),
    svix: () => new Svix(secrets.standard).verify(text, headers),
    stripe: () =>
      new Stripe("sk_unused").webhooks.signature.verifyHeader(
        text, headers["stripe-signature"], secrets.stripe, 300),
    octokit: async () => {
      if (!(await verify(secrets.github, text, headers["x-hub-signature-256"]))) {
        throw new TypeError("false");
      }
    },
  };
  const result = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      result[name] = true;
    } catch (error) {
      result[name] = error.constructor.name;
    }
  }
  return result;
}

console.log(JSON.stringify([await verified(body), await verified(body + " ")]));
