// Fetches a page from a host of the tailnet, by name. NODE_USE_ENV_PROXY=1 lets fetch() heed the proxy variables.
export async function handler() {
  const answer = await fetch(process.env.TARGET_URL, { signal: AbortSignal.timeout(20_000) });
  return { status: answer.status, body: (await answer.text()).slice(0, 1024) };
}
