// The logs of stages in components, read again when the change feed says that they grew.

import { useEffect, useRef, useState } from "react";

import { consoleClient } from "../../api";
import { isDeploymentCompleted, isStageCompleted } from "../../display-names";
import { useLiveUpdates } from "../../live";
import type { Deployment } from "../../schema/model/deployment_pb";
import type { PipelineStage } from "../../schema/model/stage_pb";
import { LogLoader, type LogPhase } from "./log-loader";
import { INITIAL_STATE, type StageLogState } from "./stage-log";

/** Covers lost change notifications. */
const POLL_INTERVAL_MS = 5_000;

function phaseOf(deployment: Deployment, stage: PipelineStage): LogPhase {
  if (isDeploymentCompleted(deployment.status)) return "final";
  return isStageCompleted(stage.status) ? "ended" : "running";
}

/**
 * The logs of `stages`, by stage ID; those without an answer are missing. A log that was requested once is followed
 * until the component is unmounted; while its stage runs, it is also polled. The ID of the deployment must stay the same.
 */
export function useStageLogs(deployment: Deployment, stages: readonly PipelineStage[]): ReadonlyMap<string, StageLogState> {
  const deploymentId = deployment.id;
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
  const phases = JSON.stringify(stages.map((stage) => [stage.id, phaseOf(deployment, stage)]));
  useEffect(() => {
    const followed = JSON.parse(phases) as [string, LogPhase][];
    for (const [id, phase] of followed) {
      if (!id) continue;
      const loader = loaders.current.get(id);
      if (loader) {
        loader.setPhase(phase);
        continue;
      }
      const opened = new LogLoader(deploymentId, id, phase, consoleClient.seeStageLog, (state) =>
        setLogs((current) => new Map(current).set(id, state)),
      );
      loaders.current.set(id, opened);
      void opened.fetch();
    }
    const poll = setInterval(() => {
      for (const [id, phase] of followed) if (phase === "running") void loaders.current.get(id)?.fetch();
    }, POLL_INTERVAL_MS);
    return () => clearInterval(poll);
  }, [deploymentId, phases]);
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

/** The log of one stage. */
export function useStageLog(deployment: Deployment, stage: PipelineStage): StageLogState {
  return useStageLogs(deployment, [stage]).get(stage.id) ?? INITIAL_STATE;
}
