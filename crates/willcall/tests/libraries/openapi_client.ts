// Uses a server by types that openapi-typescript made of its document, with openapi-fetch: JSON in,
// one line out. Whether it fits the document is seen when it is compiled.

import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const given = JSON.parse(readFileSync(0, "utf8"));
const organizer = "bigevents";

function client(authorization: string) {
  return createClient<paths>({ baseUrl: given.url, headers: { Authorization: authorization } });
}

function needed<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function awaited<T>(ask: () => Promise<T>, isDone: (found: T) => boolean): Promise<T> {
  const until = Date.now() + 30_000;
  for (;;) {
    const found = await ask();
    if (isDone(found)) return found;
    if (Date.now() > until) throw new Error(`it never came: ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function ofOrganizer() {
  const tests = client(`Token ${given.organizer_token}`);
  const base = "/api/v1/organizers/{organizer}" as const;
  const target_url = `${given.receiver}/typescript`;
  const webhook: components["schemas"]["Webhook"] = needed(
    await tests.POST(`${base}/webhooks/`, {
      params: { path: { organizer }, header: { "X-Idempotency-Key": "ts" } },
      body: { target_url, limit_events: [], action_types: ["pretix.event.order.paid"] },
    }),
  );
  const receipt = needed(
    await tests.POST(`${base}/notifications/`, {
      params: { path: { organizer } },
      body: { action: "pretix.event.order.paid", event: "democon", code: "ABC12" },
    }),
  );
  if (Array.isArray(receipt) || receipt.deliveries < 1) throw new Error(JSON.stringify(receipt));
  const page = needed(
    await tests.GET(`${base}/webhooks/{id}/deliveries/`, {
      params: { path: { organizer, id: webhook.id }, query: { page_size: 1 } },
    }),
  );
  const path = { organizer, delivery: page.results[0]!.id };
  const show = async () =>
    needed(await tests.GET(`${base}/deliveries/{delivery}/`, { params: { path } }));
  const delivery = await awaited(show, (found) => found.status === "delivered");
  if (delivery.attempts[0]?.response_status !== 204) throw new Error(JSON.stringify(delivery));
  needed(await tests.POST(`${base}/deliveries/{delivery}/retry/`, { params: { path } }));
  await awaited(show, (found) => found.attempts.length === 2 && found.status === "delivered");
  const wrong = await tests.POST(`${base}/webhooks/`, {
    params: { path: { organizer } },
    body: { target_url: "no", limit_events: [], action_types: [] },
  });
  return wrong.error?.["target_url"];
}

async function ofCompany() {
  const tests = client(`Bearer ${given.company_token}`);
  const url = `${given.receiver}/company`;
  const webhook = needed(
    await tests.POST("/webhook", {
      body: { name: "By TypeScript", url, resource: "order", trigger: "paid", retries: 3 },
    }),
  );
  const guid = "7c0e4b1e-30c5-4d7c-9d0a-0f6d1f2f9a10";
  const report = { resource: "order", trigger: "paid", guid, data: { a: 1 } };
  needed(await tests.POST("/trigger", { body: report }));
  const path = { guid: webhook.guid };
  await awaited(
    async () => needed(await tests.GET("/webhook/{guid}/invocations", { params: { path } })),
    (found) => found.length === 1 && found[0]!.status === "delivered",
  );
  const pause = needed(
    await tests.PUT("/webhook/{guid}/willcall/pause", { params: { path }, body: { paused: true } }),
  );
  return [pause.paused, pause.by];
}

async function ofAdministrator() {
  const shop = client(`Bearer ${given.administrator_token}`);
  const path = { dialect: "pretix", tenant: "typescript" };
  const made = needed(
    await shop.PUT("/willcall/v1/tenants/{dialect}/{tenant}", {
      params: { path },
      body: { name: "By TypeScript", event: [{ slug: "con" }] },
    }),
  );
  const links = "/willcall/v1/tenants/{dialect}/{tenant}/portal_links";
  const link = needed(await shop.POST(links, { params: { path }, body: { role: "look" } }));
  if (!link.path.startsWith("/link/")) throw new Error(JSON.stringify(link));
  const gone = await shop.DELETE(links, { params: { path } });
  if (gone.response.status !== 204) throw new Error(JSON.stringify(gone.error));
  return made.changes.map((change) => change.item);
}

const alive = await createClient<paths>({ baseUrl: given.url }).GET("/livez", { parseAs: "text" });
const all = [alive.data, await ofOrganizer(), await ofCompany(), await ofAdministrator()];
console.log(JSON.stringify(all));
