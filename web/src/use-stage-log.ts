// A stage's log on screen: read once, then only what was written since, each time somebody tells that it grew.

import { useEffect, useReducer } from "react";

import { board, sentence } from "./api";
import { useLive } from "./live";
import { EMPTY_LOG, grown, type StageLog } from "./stage-log";

interface Read {
  log: StageLog;
  loaded: boolean;
  problem: string;
}

type Event = { kind: "log"; log: StageLog } | { kind: "problem"; problem: string } | { kind: "other stage" };

const NOTHING: Read = { log: EMPTY_LOG, loaded: false, problem: "" };
/** The safety net for a notice that was lost. */
const LOOK_AGAIN_MS = 5_000;

function read(state: Read, event: Event): Read {
  switch (event.kind) {
    case "log":
      return { log: event.log, loaded: true, problem: "" };
    case "problem":
      return { ...state, loaded: true, problem: event.problem };
    case "other stage":
      return NOTHING;
  }
}

export function useStageLog(deploymentId: string, stageId: string, goesOn: boolean): Read {
  const live = useLive();
  const [state, tell] = useReducer(read, NOTHING);
  useEffect(() => {
    if (!stageId) return;
    const stop = new AbortController();
    let log = EMPTY_LOG;
    let reading = false;
    let again = false;
    tell({ kind: "other stage" });
    const look = async () => {
      if (reading) {
        again = true;
        return;
      }
      reading = true;
      do {
        again = false;
        try {
          const asked = { deploymentId, stageId, offsetIndex: log.next };
          const answer = await board.seeStageLog(asked, { signal: stop.signal });
          log = grown(log, answer.blocks, answer.completed);
          tell({ kind: "log", log });
        } catch (error) {
          if (stop.signal.aborted) break;
          tell({ kind: "problem", problem: sentence(error) });
        }
      } while (again);
      reading = false;
    };
    void look();
    const unlisten = live.onStageLog((deployment, stage) => {
      if (!deployment || (deployment === deploymentId && stage === stageId)) void look();
    });
    const net = goesOn ? setInterval(() => void look(), LOOK_AGAIN_MS) : undefined;
    return () => {
      stop.abort();
      unlisten();
      clearInterval(net);
    };
  }, [live, deploymentId, stageId, goesOn]);
  return state;
}
