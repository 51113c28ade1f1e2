// The logs of stages in components, read again when the change feed says that they grew.

import { useEffect, useRef, useState } from "react";

import { consoleClient } from "../../api";
import { useLiveUpdates } from "../../live";
import { LogLoader } from "./log-loader";
import { INITIAL_STATE, type StageLogState } from "./stage-log";

/** Covers lost change notifications. */
const POLL_INTERVAL_MS = 5_000;

interface FollowedStage {
  id: string;
  /** The stage has not completed, so its log may have more lines, and is also polled. */
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
    const active = JSON.parse(activeIds) as string[];
    for (const id of JSON.parse(ids) as string[]) {
      if (!id) continue;
      const loader = loaders.current.get(id);
      if (loader) {
        loader.setRuns(active.includes(id));
        continue;
      }
      const opened = new LogLoader(deploymentId, id, active.includes(id), consoleClient.seeStageLog, (state) =>
        setLogs((current) => new Map(current).set(id, state)),
      );
      loaders.current.set(id, opened);
      void opened.fetch();
    }
    const poll = setInterval(() => {
      for (const id of active) void loaders.current.get(id)?.fetch();
    }, POLL_INTERVAL_MS);
    return () => clearInterval(poll);
  }, [deploymentId, ids, activeIds]);
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
