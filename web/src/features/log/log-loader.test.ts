import { Code, ConnectError } from "@connectrpc/connect";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { LogSeverity } from "../../schema/model/stage_log_pb";
import { LogLoader, type LogPhase, type ReadPage } from "./log-loader";
import { INITIAL_STATE, type StageLogState } from "./stage-log";

const PAGE = 1_000;

/** A control plane with the log of one stage, whose pages have at most PAGE lines. */
class Log {
  readonly lines: bigint[] = [];
  completed = false;
  fails = false;
  requests = 0;
  shown: StageLogState = INITIAL_STATE;

  add(...indexes: number[]): void {
    this.lines.push(...indexes.map(BigInt));
  }

  readonly read: ReadPage = async ({ offsetIndex }) => {
    this.requests += 1;
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (this.fails) throw new ConnectError("down", Code.Unavailable);
    const found = this.lines.filter((index) => index >= offsetIndex);
    const blocks = found.slice(0, PAGE).map((index) => ({ index, log: String(index), severity: LogSeverity.INFO, createdAt: 1n }));
    const caughtUp = blocks.length === found.length;
    return { blocks: blocks.toReversed(), caughtUp, completed: this.completed && caughtUp } as Awaited<ReturnType<ReadPage>>;
  };

  follow(phase: LogPhase = "running"): LogLoader {
    const loader = new LogLoader("d", "s", phase, this.read, (state) => (this.shown = state));
    void loader.fetch();
    return loader;
  }

  get shownLines(): string[] {
    return this.shown.log.lines.map(({ plain }) => plain);
  }

  get allLines(): string[] {
    return this.lines.map(String);
  }
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

test("a stage that reports five times a second is read once a second, and not at all after its end", async () => {
  const log = new Log();
  const loader = log.follow();
  for (let report = 1; report <= 50; report += 1) {
    log.add(report);
    void loader.fetch();
    await vi.advanceTimersByTimeAsync(200);
  }
  expect(log.requests).toBe(11);
  log.add(51);
  loader.setPhase("ended");
  await vi.advanceTimersByTimeAsync(1_100);
  log.completed = true;
  void loader.fetch();
  await vi.advanceTimersByTimeAsync(1_100);
  expect(log.shownLines).toEqual(log.allLines);
  expect(log.requests).toBe(13);
  for (let round = 0; round < 10; round += 1) {
    void loader.fetch();
    await vi.advanceTimersByTimeAsync(1_000);
  }
  expect(log.requests).toBe(13);
});

test("a long log is read page by page without a pause, and its end is known from the last page", async () => {
  const log = new Log();
  log.add(...Array.from({ length: 2 * PAGE + 1 }, (_, line) => 10 + 3 * line));
  log.completed = true;
  log.follow("ended");
  await vi.advanceTimersByTimeAsync(100);
  expect(log.shownLines).toEqual(log.allLines);
  expect(log.requests).toBe(3);
  expect(log.shown.loading).toBe(false);
});

test("the first lines after a quiet time are read at once", async () => {
  const log = new Log();
  const loader = log.follow();
  await vi.advanceTimersByTimeAsync(3_000);
  log.add(1);
  void loader.fetch();
  await vi.advanceTimersByTimeAsync(30);
  expect(log.shownLines).toEqual(["1"]);
});

test("a log that is complete while its stage runs may be continued", async () => {
  const log = new Log();
  log.add(1);
  log.completed = true;
  const loader = log.follow();
  await vi.advanceTimersByTimeAsync(2_000);
  log.add(2);
  void loader.fetch();
  await vi.advanceTimersByTimeAsync(30);
  expect(log.shownLines).toEqual(["1", "2"]);
});

test("a stage that wrote nothing is read until its deployment has ended, and once afterwards", async () => {
  const log = new Log();
  const loader = log.follow("ended");
  const readAgain = async () => {
    void loader.fetch();
    await vi.advanceTimersByTimeAsync(2_000);
  };
  await readAgain();
  const before = log.requests;
  await readAgain();
  expect(log.requests).toBe(before + 1);
  loader.setPhase("final");
  for (let round = 0; round < 5; round += 1) await readAgain();
  expect(log.requests).toBe(before + 2);
  expect([log.shown.loaded, log.shown.loading, log.shown.error]).toEqual([true, false, ""]);
});

test("a failed read is not the last one, also after the end of the deployment", async () => {
  const log = new Log();
  log.fails = true;
  log.follow("final");
  await vi.advanceTimersByTimeAsync(100);
  log.fails = false;
  log.add(1);
  await vi.advanceTimersByTimeAsync(10_000);
  expect([log.shownLines, log.requests]).toEqual([["1"], 2]);
});

test("a log that could not be read is read again until it is, and keeps what was shown", async () => {
  const log = new Log();
  log.add(1);
  const loader = log.follow("ended");
  await vi.advanceTimersByTimeAsync(2_000);
  log.fails = true;
  log.add(2);
  void loader.fetch();
  await vi.advanceTimersByTimeAsync(100);
  expect(log.shown.error).toBe("Down.");
  expect(log.shownLines).toEqual(["1"]);
  log.fails = false;
  await vi.advanceTimersByTimeAsync(5_000);
  expect([log.shown.error, log.shownLines]).toEqual(["", ["1", "2"]]);
});

test("nothing is read for a page that was left", async () => {
  const log = new Log();
  log.fails = true;
  const loader = log.follow();
  await vi.advanceTimersByTimeAsync(100);
  loader.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(log.requests).toBe(1);
});
