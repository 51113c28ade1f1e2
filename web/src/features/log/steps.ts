// The log of a deployment as rows: a heading for each step, which is a stage, and its lines unless it is folded.

import { isStageCompleted } from "../../display-names";
import { type PipelineStage, StageStatus } from "../../schema/model/stage_pb";
import type { StageLogState } from "./stage-log";

export interface LogStep extends StageLogState {
  stage: PipelineStage;
}

/** A row of the log. `line` is −1 for the heading of a step, and 0 for the note of a step without lines. */
export interface LogRow {
  step: number;
  line: number;
}

/** Whether a step is folded, by stage ID, where a user chose it. */
export type Folding = Readonly<Record<string, boolean>>;

export interface RowLayout {
  count: number;
  /** The row at an index; undefined if there is none. */
  at: (index: number) => LogRow | undefined;
  /** The index of a row; −1 if it does not exist, because its step is folded or the line is not loaded. */
  indexOf: (row: LogRow) => number;
}

/** Steps that succeeded or have not started are folded: what runs and what failed matters first. */
export function isFolded({ stage }: Pick<LogStep, "stage">, folding: Folding): boolean {
  const failed = stage.status === StageStatus.STAGE_FAILURE || stage.status === StageStatus.STAGE_CANCELLED;
  return folding[stage.id] ?? !(failed || stage.status === StageStatus.STAGE_RUNNING);
}

/** The rows of `steps`. Without headings, no step is folded. */
export function layoutRows(steps: readonly LogStep[], headings: boolean, folding: Folding): RowLayout {
  const heading = headings ? 1 : 0;
  const lineCounts = steps.map((step) => {
    if (!headings) return step.log.lines.length;
    return isFolded(step, folding) ? 0 : Math.max(1, step.log.lines.length);
  });
  const starts: number[] = [];
  let count = 0;
  for (const lines of lineCounts) {
    starts.push(count);
    count += heading + lines;
  }
  return {
    count,
    at: (index) => {
      const step = starts.findLastIndex((start, candidate) => start <= index && heading + (lineCounts[candidate] ?? 0) > 0);
      if (step < 0 || index >= count) return undefined;
      return { step, line: index - (starts[step] ?? 0) - heading };
    },
    indexOf: ({ step, line }) => {
      const exists = line < 0 ? headings : line < (lineCounts[step] ?? 0);
      return exists && starts[step] !== undefined ? starts[step] + heading + line : -1;
    },
  };
}

/** Whether all lines that exist at the moment are loaded. */
export const isCaughtUp = ({ stage, loaded, loading }: LogStep): boolean =>
  stage.status === StageStatus.STAGE_NOT_STARTED_YET || (loaded && !loading);

export function emptyStepText({ stage, loaded, error }: LogStep): string {
  if (stage.status === StageStatus.STAGE_NOT_STARTED_YET) {
    return "This stage has not started. Its log appears here once it starts.";
  }
  if (error) return error;
  if (!loaded) return "Loading log…";
  return isStageCompleted(stage.status) ? "This stage produced no log output." : "No log output yet.";
}

const timedLines = ({ log }: LogStep): string =>
  log.lines.map(({ at, plain }) => `${new Date(at * 1000).toISOString()} ${plain}`).join("\n");
const plainLines = ({ log }: LogStep): string => log.lines.map(({ plain }) => plain).join("\n");

/** The log as text, with a heading for each step if there are several. */
export function logText(steps: readonly LogStep[], headings: boolean, times: boolean): string {
  const textOf = times ? timedLines : plainLines;
  if (!headings) return steps.map(textOf).join("\n");
  return steps
    .filter(({ log }) => log.lines.length > 0)
    .map((step) => `=== ${step.stage.name} ===\n${textOf(step)}`)
    .join("\n\n");
}
