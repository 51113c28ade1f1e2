import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { afterEach, expect, test, vi } from "vitest";

import { LiveUpdates, refetchQueries } from "./live";
import { key } from "./queries";
import { ConsoleChange_Kind as Kind } from "./schema/pipecd/v1/console_pb";

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

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** Starts updates whose stream sends one change of `kind` for each call of `send`. */
function startUpdates(client: QueryClient, kind = Kind.HEARTBEAT) {
  vi.useFakeTimers();
  vi.stubGlobal("window", new EventTarget());
  vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false }));
  const sent = new EventTarget();
  const updates = new LiveUpdates(client, async function* () {
    for (;;) {
      await new Promise((resolve) => {
        sent.addEventListener("message", resolve, { once: true });
      });
      yield { kind, id: "", stageId: "" };
    }
  });
  const stop = updates.start();
  const send = async () => {
    sent.dispatchEvent(new Event("message"));
    await vi.advanceTimersByTimeAsync(0);
  };
  return { updates, stop, send };
}

test("what is requested after the stream is open is requested once, and what was requested before it, twice", async () => {
  const client = new QueryClient();
  const early = createServer();
  const late = createServer();
  const { updates, stop, send } = startUpdates(client);
  await vi.advanceTimersByTimeAsync(0);
  expect(updates.connection).toBe("connecting");
  const subscribe = (queryKey: string[], queryFn: () => Promise<string>) =>
    new QueryObserver(client, { queryKey, queryFn }).subscribe(() => undefined);
  const unsubscribe = [subscribe(["early"], early.respond)];
  await send();
  expect(updates.connection).toBe("live");
  unsubscribe.push(subscribe(["late"], late.respond));
  for (const { pending } of [early.server, late.server]) pending.shift()?.();
  await vi.advanceTimersByTimeAsync(1_000);
  early.server.pending.shift()?.();
  await send();
  await vi.advanceTimersByTimeAsync(1_000);
  expect([early.server.requests, late.server.requests]).toEqual([2, 1]);
  for (const end of unsubscribe) end();
  stop();
  expect(updates.connection).toBe("connecting");
});

test("without a message of the stream, the page polls after a second", async () => {
  const { updates, stop } = startUpdates(new QueryClient());
  await vi.advanceTimersByTimeAsync(999);
  expect(updates.connection).toBe("connecting");
  await vi.advanceTimersByTimeAsync(1);
  expect(updates.connection).toBe("polling");
  stop();
});

test.each([50, 300, 600])("a list that changes every %i ms is refetched about once a second, and a single change is shown at once", async (interval) => {
  const client = new QueryClient();
  let requests = 0;
  const respond = () => Promise.resolve((requests += 1));
  const { stop, send } = startUpdates(client, Kind.APPLICATION);
  const unsubscribe = new QueryObserver(client, { queryKey: key.applications, queryFn: respond }).subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(0);
  await send();
  await vi.advanceTimersByTimeAsync(5_000);
  const before = requests;
  await send();
  await vi.advanceTimersByTimeAsync(100);
  expect(requests).toBe(before + 1);
  await vi.advanceTimersByTimeAsync(5_000);
  for (let changes = 0; changes < 20_000 / interval; changes += 1) {
    await send();
    await vi.advanceTimersByTimeAsync(interval);
  }
  const perSecond = (requests - before - 1) / 20;
  expect(perSecond).toBeGreaterThan(0.8);
  expect(perSecond).toBeLessThan(1.3);
  unsubscribe();
  stop();
});
