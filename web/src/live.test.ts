import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, test } from "vitest";

import { refetchQueries } from "./live";

const KEY = ["deployment", "deployment-1"];

/** A server that holds each response until the test releases it. */
function createServer() {
  const pending: (() => void)[] = [];
  const server = { status: "running", requests: 0, pending };
  const respond = () => {
    const { status } = server;
    server.requests += 1;
    return new Promise<string>((resolve) => pending.push(() => resolve(status)));
  };
  return { server, respond };
}

test("a change during the first fetch is still shown", async () => {
  const { server, respond } = createServer();
  const client = new QueryClient();
  const observer = new QueryObserver(client, { queryKey: KEY, queryFn: respond });
  const unsubscribe = observer.subscribe(() => undefined);
  expect(server.requests).toBe(1);

  server.status = "succeeded";
  const refetch = refetchQueries(client, [KEY]);
  server.pending.shift()?.();
  const remaining = await refetch;
  expect(remaining).toEqual([KEY]);
  expect(client.getQueryData(KEY)).toBe("running");

  const nextRefetch = refetchQueries(client, remaining);
  server.pending.shift()?.();
  expect(await nextRefetch).toEqual([]);
  expect(client.getQueryData(KEY)).toBe("succeeded");
  expect(server.requests).toBe(2);
  unsubscribe();
});

test("a query with data is refetched once per change", async () => {
  const { server, respond } = createServer();
  const client = new QueryClient();
  client.setQueryData(KEY, "running");
  const observer = new QueryObserver(client, { queryKey: KEY, queryFn: respond, staleTime: Infinity });
  const unsubscribe = observer.subscribe(() => undefined);
  expect(server.requests).toBe(0);
  const refetch = refetchQueries(client, [KEY]);
  server.pending.shift()?.();
  expect(await refetch).toEqual([]);
  expect(server.requests).toBe(1);
  unsubscribe();
});
