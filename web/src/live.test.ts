import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, test } from "vitest";

import { fetchAnew } from "./live";

const KEY = ["deployment", "one"];

/** A server whose answers take until they are let go. */
function server() {
  const letGo: (() => void)[] = [];
  const made = { says: "running", asked: 0, letGo };
  const answer = () => {
    const said = made.says;
    made.asked += 1;
    return new Promise<string>((resolve) => letGo.push(() => resolve(said)));
  };
  return { made, answer };
}

test("a change that meets the first answer on its way is shown all the same", async () => {
  const { made, answer } = server();
  const client = new QueryClient();
  const observer = new QueryObserver(client, { queryKey: KEY, queryFn: answer });
  const leave = observer.subscribe(() => undefined);
  expect(made.asked).toBe(1);

  made.says = "succeeded";
  const round = fetchAnew(client, [KEY]);
  made.letGo.shift()?.();
  const again = await round;
  expect(again).toEqual([KEY]);
  expect(client.getQueryData(KEY)).toBe("running");

  const next = fetchAnew(client, again);
  made.letGo.shift()?.();
  expect(await next).toEqual([]);
  expect(client.getQueryData(KEY)).toBe("succeeded");
  expect(made.asked).toBe(2);
  leave();
});

test("what has an answer is fetched once for a change", async () => {
  const { made, answer } = server();
  const client = new QueryClient();
  client.setQueryData(KEY, "running");
  const observer = new QueryObserver(client, { queryKey: KEY, queryFn: answer, staleTime: Infinity });
  const leave = observer.subscribe(() => undefined);
  expect(made.asked).toBe(0);
  const round = fetchAnew(client, [KEY]);
  made.letGo.shift()?.();
  expect(await round).toEqual([]);
  expect(made.asked).toBe(1);
  leave();
});
