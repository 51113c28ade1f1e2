import { expect, it } from "vitest";

import { runAll } from "./run-all";

it("runs each item once, and no more than the limit at a time", async () => {
  const done: number[] = [];
  let running = 0;
  let most = 0;
  await runAll([1, 2, 3, 4, 5], 2, async (item) => {
    most = Math.max(most, (running += 1));
    await Promise.resolve();
    running -= 1;
    done.push(item);
  });
  expect(done.toSorted()).toEqual([1, 2, 3, 4, 5]);
  expect(most).toBe(2);
});
