#!/usr/bin/env node
// A small, complete receiver of pretix webhooks. Needs Node.js 20 and nothing else.
//
//     RECEIVER_PASSWORD=secret ./receiver.mjs --port 8000 --user willcall --seen seen.jsonl
//
// Every path takes calls. A call is written down before it is answered, worked on after it is
// answered, and dropped if it was written down before. docs/receiving.md says why.

import { createHash, timingSafeEqual } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';

const BODY_BYTES_MAX = 1024 * 1024;
// A sender repeats a call for 3 days, and by hand for as long as its log goes back: 30 days.
const SEEN_MS = 40 * 86_400_000;

// Your part. Fetch what the notification names from the REST API, then act on that.
// May run twice for one notification if the process dies within it. If it throws, it runs again.
async function work(notification) {
  const sender = notification.organizer || notification.issuer_slug;
  const line = `${notification.notification_id} ${notification.action} from ${sender}`;
  console.log(line.replace(/[^ -~]/g, '?'));
}

// Every call that was taken, on disk: what is new, what is left to do, what is a duplicate.
// A call that is taken adds one line to the file, a call that is worked on another.
class Seen {
  taken = new Map(); // name -> promise of its line being on disk
  undone = new Map(); // name -> body
  size = 0; // of what is known to be on disk
  lastWrite = Promise.resolve();

  static async open(path) {
    const takenAt = new Map();
    const seen = new Seen();
    const old = await open(path, 'a+');
    for await (const line of old.readLines({ start: 0 })) {
      const entry = parseOrNull(line); // a torn line was never answered
      if (entry?.done) seen.undone.delete(entry.done);
      if (entry?.name) takenAt.set(entry.name, entry.at);
      if (entry?.name && 'body' in entry) seen.undone.set(entry.name, entry.body);
    }
    // What is still needed goes into a new file, which then takes the place of the old one.
    seen.file = await open(`${path}.new`, 'w');
    for (const [name, at] of takenAt) {
      const body = seen.undone.get(name);
      if (body === undefined && at < Date.now() - SEEN_MS) continue;
      seen.taken.set(name, Promise.resolve());
      const line = Buffer.from(`${JSON.stringify({ name, at, body })}\n`);
      await seen.file.writeFile(line);
      seen.size += line.length;
    }
    await seen.file.sync();
    await rename(`${path}.new`, path);
    const folder = await open(dirname(path));
    await folder.sync();
    await folder.close();
    return seen;
  }

  // Durable when it resolves. The second of two at once waits for the first.
  take(name, body) {
    if (!this.taken.has(name)) {
      const written = this.write({ name, at: Date.now(), body });
      this.taken.set(name, written);
      written.then(
        () => this.undone.set(name, body),
        () => this.taken.delete(name),
      );
    }
    return this.taken.get(name);
  }

  write(entry) {
    const written = this.lastWrite.then(async () => {
      const line = Buffer.from(`${JSON.stringify(entry)}\n`);
      await this.file.truncate(this.size); // what a failed write may have left
      const { bytesWritten } = await this.file.write(line, 0, line.length, this.size);
      if (bytesWritten < line.length) throw new Error('no room');
      await this.file.datasync();
      this.size += line.length;
    });
    this.lastWrite = written.catch(() => {});
    return written;
  }

  async workOnAll() {
    if (this.working) return; // it also meets what is added meanwhile
    this.working = true;
    let failed = false;
    for (const [name, body] of this.undone) {
      try {
        await work(JSON.parse(body));
        await this.write({ done: name });
        this.undone.delete(name);
      } catch (error) {
        failed = true;
        console.error(`work failed, will be repeated: ${error}`);
      }
    }
    this.working = false;
    if (failed) setTimeout(() => this.workOnAll(), 10_000);
  }
}

async function receive(request, response, { seen, letsIn }) {
  const answer = (status, words, headers = {}) => {
    if (words) headers['Content-Type'] = 'text/plain';
    response.writeHead(status, headers).end(words && `${words}\n`);
  };
  // What is not read would be taken for the next request.
  const close = { Connection: 'close' };
  if (request.method !== 'POST') return answer(405, 'only POST', { Allow: 'POST', ...close });
  const length = request.headers['content-length'];
  if (length === undefined) return answer(411, 'a length is needed', close);
  if (Number(length) > BODY_BYTES_MAX) return answer(413, 'too large', close);
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  if (!letsIn(request.headers.authorization ?? '')) {
    const realm = { 'WWW-Authenticate': 'Basic realm="receiver"' };
    return answer(401, 'wrong user or password', realm);
  }
  let text, name;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
    name = nameOf(text);
  } catch {
    return answer(400, 'not a notification');
  }
  try {
    await seen.take(name, text);
  } catch (error) {
    console.error(`cannot write: ${error}`);
    return answer(503, 'cannot write it down');
  }
  answer(204);
  setImmediate(() => seen.workOnAll());
}

// What makes a notification the same one: its number, and who sent it.
function nameOf(text) {
  const notification = JSON.parse(text);
  const { notification_id, organizer, issuer_slug } = notification;
  const sender = organizer || issuer_slug || '';
  // Larger numbers lose digits in JSON.parse, so two ids could look like one.
  if (!Number.isSafeInteger(notification_id)) throw new Error('no notification_id');
  if (typeof sender !== 'string' || /\p{Surrogate}/u.test(sender)) throw new Error('no organizer');
  return `${notification_id} ${sender}`;
}

function parseOrNull(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

// Takes the same time whatever is wrong, so that it gives nothing away.
function guard(user, password) {
  if (user === undefined) return () => true;
  const digest = (text) => createHash('sha256').update(text).digest();
  const expected = digest(`Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`);
  return (authorization) => timingSafeEqual(digest(authorization), expected);
}

const env = process.env;
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: env.RECEIVER_PORT ?? '8000' },
    user: { type: 'string', default: env.RECEIVER_USER },
    password: { type: 'string', default: env.RECEIVER_PASSWORD },
    seen: { type: 'string', default: env.RECEIVER_SEEN ?? 'seen.jsonl' },
  },
});
if ((options.user === undefined) !== (options.password === undefined)) {
  console.error('give both --user and --password, or neither');
  process.exit(2);
}
const seen = await Seen.open(options.seen);
const place = { seen, letsIn: guard(options.user, options.password) };
const server = createServer({ requestTimeout: 30_000 }, (request, response) => {
  receive(request, response, place).catch(() => response.destroy());
});
server.on('error', (error) => {
  console.error(`cannot listen on port ${options.port}: ${error.message}`);
  process.exit(1);
});
server.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
  seen.workOnAll();
});
