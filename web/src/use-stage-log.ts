// Loads the log of a stage and keeps it up to date: later requests fetch only new blocks.

import { useEffect, useReducer } from "react";

import { consoleClient, errorMessage } from "./api";
import { useLiveUpdates } from "./live";
import { appendBlocks, EMPTY_LOG, type StageLog } from "./stage-log";

interface StageLogState {
  log: StageLog;
  loaded: boolean;
  /** The error of the last request; empty if it succeeded. */
  error: string;
}

type Action = { kind: "loaded"; log: StageLog } | { kind: "failed"; error: string } | { kind: "reset" };

const INITIAL_STATE: StageLogState = { log: EMPTY_LOG, loaded: false, error: "" };
/** Covers lost change notifications. */
const POLL_INTERVAL_MS = 5_000;

function reduce(state: StageLogState, action: Action): StageLogState {
  switch (action.kind) {
    case "loaded":
      return { log: action.log, loaded: true, error: "" };
    case "failed":
      return { ...state, loaded: true, error: action.error };
    case "reset":
      return INITIAL_STATE;
  }
}

/** `active`: the stage has not completed, so the log is also polled. */
export function useStageLog(deploymentId: string, stageId: string, active: boolean): StageLogState {
  const liveUpdates = useLiveUpdates();
  const [state, dispatch] = useReducer(reduce, INITIAL_STATE);
  useEffect(() => {
    if (!stageId) return;
    const controller = new AbortController();
    let log = EMPTY_LOG;
    let fetching = false;
    let fetchAgain = false;
    dispatch({ kind: "reset" });
    const fetchLog = async () => {
      if (fetching) {
        fetchAgain = true;
        return;
      }
      fetching = true;
      do {
        fetchAgain = false;
        try {
          const request = { deploymentId, stageId, offsetIndex: log.next };
          const response = await consoleClient.seeStageLog(request, { signal: controller.signal });
          log = appendBlocks(log, response.blocks, response.completed);
          dispatch({ kind: "loaded", log });
          // A response has one page; the last one is empty or complete.
          if (response.blocks.length > 0 && !response.completed) fetchAgain = true;
        } catch (error) {
          if (controller.signal.aborted) break;
          dispatch({ kind: "failed", error: errorMessage(error) });
        }
      } while (fetchAgain);
      fetching = false;
    };
    void fetchLog();
    const unsubscribe = liveUpdates.onStageLog((deployment, stage) => {
      if (!deployment || (deployment === deploymentId && stage === stageId)) void fetchLog();
    });
    const poll = active ? setInterval(() => void fetchLog(), POLL_INTERVAL_MS) : undefined;
    return () => {
      controller.abort();
      unsubscribe();
      clearInterval(poll);
    };
  }, [liveUpdates, deploymentId, stageId, active]);
  return state;
}
