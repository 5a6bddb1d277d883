// Checks custom resources, read as JSON from stdin, against the models made of their operators' own definitions: the types of
// all values, and that every field is one that the definition knows.
import { ExternalSecret } from "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const MODELS = { ExternalSecret, PodMonitor, ServiceMonitor };

// The validators ignore fields they do not know; those they know, they read.
function watched(value, path, read) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      const inner = `${path}/${String(key)}`;
      read.add(inner);
      return watched(target[key], inner, read);
    },
  });
}

function* fields(value, path) {
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) {
    yield `${path}/${key}`;
    yield* fields(inner, `${path}/${key}`);
  }
}

function check(object) {
  const Known = MODELS[object.kind];
  if (!Known) throw new Error(`${object.kind} is not known here`);
  const read = new Set();
  const model = new Known(object);
  model.spec = watched(model.spec, "/spec", read);
  model.validate();
  for (const field of fields(object.spec, "/spec")) {
    if (!read.has(field)) throw new Error(`${object.kind} ${object.metadata.name}: ${field} is not known`);
  }
}

let text = "";
for await (const part of process.stdin) text += part;
for (const object of JSON.parse(text)) check(object);
