// Loads the log of one stage and follows it: later requests fetch only new lines, and none follows the end of the log.

import { errorMessage, isRetryable } from "../../api";
import { sleep } from "../../live";
import type { GetStageLogResponse } from "../../schema/web/logs_pb";
import { appendBlocks, INITIAL_STATE, type StageLogState } from "./stage-log";

/** From one read for new lines to the next one, however many a stage writes. */
const READ_INTERVAL_MS = 1_000;
/** After a read that failed, because the control plane did not answer. */
const RETRY_INTERVAL_MS = 5_000;
/** Between two changes of the page while a long log is loaded. */
const SHOW_INTERVAL_MS = 250;

/**
 * How far the stage is: it runs, it has ended, or moreover its deployment has. The last lines of a stage may arrive after
 * its end, but none arrives after the end of the deployment.
 */
export type LogPhase = "running" | "ended" | "final";

export type ReadPage = (
  request: { deploymentId: string; stageId: string; offsetIndex: bigint },
  options: { signal: AbortSignal },
) => Promise<Pick<GetStageLogResponse, "blocks" | "completed" | "caughtUp">>;

export class LogLoader {
  #state = INITIAL_STATE;
  #wanted = false;
  #reading = false;
  /** Whether the log was read to its end since its deployment has ended. */
  #isRead = false;
  readonly #controller = new AbortController();

  constructor(
    private readonly deploymentId: string,
    private readonly stageId: string,
    private phase: LogPhase,
    private readonly readPage: ReadPage,
    private readonly onChange: (state: StageLogState) => void,
  ) {}

  stop(): void {
    this.#controller.abort();
  }

  /** A stage that has just ended has written its last lines. */
  setPhase(phase: LogPhase): void {
    const hasEnded = this.phase === "running" && phase !== "running";
    this.phase = phase;
    if (hasEnded) void this.fetch();
  }

  /** The log may have new lines: reads them, at once or after an interval from the last read. */
  async fetch(): Promise<void> {
    this.#wanted = true;
    if (this.#reading) return;
    this.#reading = true;
    while (this.#wanted && !this.#isAtEnd && !this.#signal.aborted) {
      this.#wanted = false;
      const startedAt = performance.now();
      const interval = await this.#read();
      await sleep(startedAt + interval - performance.now(), this.#signal);
    }
    this.#reading = false;
  }

  /** The log of a stage that runs has no end, also if it was completed: it may be continued. */
  get #isAtEnd(): boolean {
    return this.#isRead || (this.#state.log.completed && this.phase !== "running");
  }

  /** Returns the time until the next read, from the begin of this one. */
  async #read(): Promise<number> {
    let interval = READ_INTERVAL_MS;
    this.#state = { ...this.#state, loading: true };
    try {
      await this.#readPages();
    } catch (error) {
      if (this.#signal.aborted) return 0;
      this.#state = { ...this.#state, loaded: true, error: errorMessage(error) };
      if (isRetryable(error)) {
        this.#wanted = true;
        interval = RETRY_INTERVAL_MS;
      }
    }
    this.#state = { ...this.#state, loading: false };
    this.onChange(this.#state);
    return interval;
  }

  /** Reads pages to the last line that there is. */
  async #readPages(): Promise<void> {
    const { phase } = this;
    let shownAt = 0;
    while (await this.#readNextPage()) {
      if (performance.now() - shownAt < SHOW_INTERVAL_MS) continue;
      this.onChange(this.#state);
      shownAt = performance.now();
    }
    this.#isRead = phase === "final";
  }

  /** Returns whether another page may follow. */
  async #readNextPage(): Promise<boolean> {
    const { deploymentId, stageId } = this;
    const { log } = this.#state;
    const request = { deploymentId, stageId, offsetIndex: log.next };
    const { blocks, completed, caughtUp } = await this.readPage(request, { signal: this.#signal });
    this.#state = { ...this.#state, log: appendBlocks(log, blocks, completed), loaded: true, error: "" };
    return blocks.length > 0 && !completed && !caughtUp;
  }

  get #signal(): AbortSignal {
    return this.#controller.signal;
  }
}
