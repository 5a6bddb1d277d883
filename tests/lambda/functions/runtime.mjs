// What the runtime of Node.js in Lambda does: calls the handler that _HANDLER names with each event. AWS's own client is
// native code that its package compiles.
const [file, name] = process.env._HANDLER.split(".");
const { [name]: handler } = await import(`${process.env.LAMBDA_TASK_ROOT}/${file}.mjs`);
const base = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation`;

for (;;) {
  const invocation = await fetch(`${base}/next`);
  const id = invocation.headers.get("lambda-runtime-aws-request-id");
  const body = JSON.stringify(await handler(await invocation.json()));
  await fetch(`${base}/${id}/response`, { method: "POST", body });
}
