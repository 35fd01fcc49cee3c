// Reads a call as a CloudEvent with the library for JavaScript: JSON in, one line out.
import { readFileSync } from "node:fs";
import { HTTP } from "cloudevents";

const { headers, body } = JSON.parse(readFileSync(0));
const message = { headers, body };
if (!HTTP.isEvent(message)) throw new TypeError("no event");
const { id, source, type, datacontenttype, time, data } = HTTP.toEvent(message);
console.log(JSON.stringify({ id, source, type, datacontenttype, time, data }));
