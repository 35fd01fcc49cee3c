#!/bin/sh
# HTTP Message Signatures for JavaScript, and a target with an apostrophe.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund http-message-signatures@1.0.6
cat >seen.mjs <<'JAVASCRIPT'
import { readFileSync } from 'node:fs';
import { httpbis } from 'http-message-signatures';

const folder = 'node_modules/http-message-signatures';
const { version } = JSON.parse(readFileSync(`${folder}/package.json`));
console.log(`http-message-signatures ${version}`);

function component(name, target) {
  const message = { method: 'POST', url: `https://shop.example${target}`, headers: {} };
  return httpbis.deriveComponent(name, new Map(), message)[0];
}

const seen = [
  component('@path', "/l'avenir"),
  component('@query', "/hook?hall=l'avenir"),
  component('@query', '/hook?hall=l%27avenir'),
  component('@query', '/hook?hall=(a),b+c'),
];
seen.forEach((value) => console.log(value));
const expected = [
  "/l'avenir",
  '?hall=l%27avenir',
  '?hall=l%27avenir',
  '?hall=(a),b+c',
];
process.exit(JSON.stringify(seen) === JSON.stringify(expected) ? 0 : 1);
JAVASCRIPT
node seen.mjs
