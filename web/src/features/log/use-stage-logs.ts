// Loads the logs of stages and keeps them up to date: later requests fetch only new blocks.

import { useEffect, useRef, useState } from "react";

import { consoleClient, errorMessage } from "../../api";
import { sleep, useLiveUpdates } from "../../live";
import { appendBlocks, INITIAL_STATE, type StageLogState } from "./stage-log";

/** Covers lost change notifications. */
const POLL_INTERVAL_MS = 5_000;
/** Between two requests for new lines, and between two changes of the page while a long log is loaded. */
const PAUSE_MS = 250;

/** Follows the log of one stage until it is stopped. */
class LogLoader {
  #state = INITIAL_STATE;
  #fetchAgain = false;
  readonly #controller = new AbortController();

  constructor(
    private readonly deploymentId: string,
    private readonly stageId: string,
    private readonly onChange: (state: StageLogState) => void,
  ) {}

  stop(): void {
    this.#controller.abort();
  }

  /** Fetches the lines that are not loaded. During a fetch, another one follows it after a pause. */
  async fetch(): Promise<void> {
    if (this.#state.loading) {
      this.#fetchAgain = true;
      return;
    }
    this.#state = { ...this.#state, loading: true };
    do {
      this.#fetchAgain = false;
      try {
        await this.#fetchAll();
      } catch (error) {
        if (this.#signal.aborted) return;
        this.#state = { ...this.#state, loaded: true, error: errorMessage(error) };
      }
      this.#state = { ...this.#state, loading: this.#fetchAgain };
      this.onChange(this.#state);
      // A log to which a stage writes all the time.
      if (this.#fetchAgain) await sleep(PAUSE_MS, this.#signal);
    } while (this.#fetchAgain && !this.#signal.aborted);
  }

  /** Fetches pages to the end of the log. */
  async #fetchAll(): Promise<void> {
    let shownAt = 0;
    while (await this.#fetchPage()) {
      if (performance.now() - shownAt < PAUSE_MS) continue;
      this.onChange(this.#state);
      shownAt = performance.now();
    }
  }

  /** Returns whether another page may follow: the last one is empty or complete. */
  async #fetchPage(): Promise<boolean> {
    const { deploymentId, stageId } = this;
    const { log } = this.#state;
    const request = { deploymentId, stageId, offsetIndex: log.next };
    const { blocks, completed } = await consoleClient.seeStageLog(request, { signal: this.#signal });
    this.#state = { ...this.#state, log: appendBlocks(log, blocks, completed), loaded: true, error: "" };
    return blocks.length > 0 && !completed;
  }

  get #signal(): AbortSignal {
    return this.#controller.signal;
  }
}

interface FollowedStage {
  id: string;
  /** The stage has not completed, so its log is also polled. */
  active: boolean;
}

/**
 * The logs of `stages`, by stage ID; those without an answer are missing. A log that was requested once is followed
 * until the component is unmounted. The deployment must stay the same.
 */
export function useStageLogs(deploymentId: string, stages: readonly FollowedStage[]): ReadonlyMap<string, StageLogState> {
  const liveUpdates = useLiveUpdates();
  const [logs, setLogs] = useState<ReadonlyMap<string, StageLogState>>(new Map());
  const loaders = useRef(new Map<string, LogLoader>());
  useEffect(() => {
    const opened = loaders.current;
    return () => {
      for (const loader of opened.values()) loader.stop();
      opened.clear();
    };
  }, []);
  const ids = JSON.stringify(stages.map(({ id }) => id));
  const activeIds = JSON.stringify(stages.filter(({ active }) => active).map(({ id }) => id));
  useEffect(() => {
    for (const id of JSON.parse(ids) as string[]) {
      if (!id || loaders.current.has(id)) continue;
      const loader = new LogLoader(deploymentId, id, (state) => setLogs((current) => new Map(current).set(id, state)));
      loaders.current.set(id, loader);
      void loader.fetch();
    }
  }, [deploymentId, ids]);
  useEffect(() => {
    const fetchActive = () => {
      for (const id of JSON.parse(activeIds) as string[]) void loaders.current.get(id)?.fetch();
    };
    const poll = setInterval(fetchActive, POLL_INTERVAL_MS);
    return () => {
      clearInterval(poll);
      // A stage that has just ended has written its last lines.
      fetchActive();
    };
  }, [activeIds]);
  useEffect(
    () =>
      liveUpdates.onStageLog((deployment, stage) => {
        if (deployment && deployment !== deploymentId) return;
        for (const [id, loader] of loaders.current) if (!stage || id === stage) void loader.fetch();
      }),
    [liveUpdates, deploymentId],
  );
  return logs;
}

/** The log of one stage of a deployment that has ended. Without an ID, nothing is requested. */
export function useStageLog(deploymentId: string, stageId: string): StageLogState {
  return useStageLogs(deploymentId, [{ id: stageId, active: false }]).get(stageId) ?? INITIAL_STATE;
}
