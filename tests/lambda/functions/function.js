// A function and its runtime loop in one. Node's own `http` knows no proxy before version 24: the request goes to the
// proxy named in HTTP_PROXY in absolute form, as any HTTP client library would send it.
const http = require("node:http");

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const BASE = "/2018-06-01/runtime/invocation/";

function exchange(options, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => resolve({ answer, body: Buffer.concat(chunks).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

async function get(url) {
  const proxy = new URL(process.env.HTTP_PROXY);
  const { answer, body } = await exchange({
    host: proxy.hostname, port: proxy.port, path: url, headers: { Host: new URL(url).host },
  });
  return { status: answer.statusCode, body };
}

async function main() {
  for (;;) {
    const { answer, body } = await exchange({ host, port, path: BASE + "next" });
    const event = JSON.parse(body);
    const result = event.get ? await get(event.get) : { hello: "world" };
    const name = answer.headers["lambda-runtime-aws-request-id"];
    await exchange({ host, port, path: `${BASE}${name}/response`, method: "POST" }, JSON.stringify(result));
  }
}

main();
