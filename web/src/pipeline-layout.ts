// Computes the position of each stage of a pipeline and the lines between them. Columns follow `requires`.
// Rollback stages form a separate lane, one after another, on a narrow screen below the others; only those that have
// started are included.

import { type PipelineStage, StageStatus } from "./schema/model/stage_pb";
import { isRollback } from "./stages";

export interface Size {
  width: number;
  height: number;
}

export interface PlacedStage {
  stage: PipelineStage;
  x: number;
  y: number;
}

export interface Edge {
  from: string;
  to: string;
  path: string;
  rollback: boolean;
}

export interface PipelineLayout {
  stages: PlacedStage[];
  edges: Edge[];
  size: Size;
}

/** All lengths are in CSS pixels. */
export const STAGE_SIZE: Size = { width: 236, height: 92 };
/** Between columns, between the stages of a column, and in addition before the rollback lane. */
const GAP = { column: 44, row: 18, lane: 34 };

/** `down` is for narrow screens: the pipeline runs from top to bottom. */
export type Direction = "right" | "down";

export function layoutPipeline(allStages: readonly PipelineStage[], direction: Direction): PipelineLayout {
  const forward = sortByIndex(allStages.filter((stage) => !isRollback(stage)));
  const rollback = sortByIndex(allStages.filter((stage) => isRollback(stage) && hasStarted(stage)));
  const depths = computeDepths(forward);
  const columns = groupByDepth(forward, (stage) => depths.get(stage.id) ?? 0);
  const maxRows = Math.max(1, ...columns.map((column) => column.length));
  const stages = columns.flatMap((column, depth) =>
    column.map((stage, row) => placeStage(stage, depth, row + (maxRows - column.length) / 2, 0, direction)),
  );
  const last = lastReachedStage(forward, depths);
  stages.push(
    ...rollback.map((stage, index) =>
      // On a narrow screen, a lane beside the pipeline would be off screen.
      direction === "right"
        ? placeStage(stage, last.depth + index, maxRows, GAP.lane, direction)
        : placeStage(stage, columns.length + index, (maxRows - 1) / 2, 0, direction),
    ),
  );
  const stagesById = new Map(stages.map((placed) => [placed.stage.id, placed]));
  const edges = [
    ...forward.flatMap((stage) => stage.requires.map((id) => createEdge(stagesById, id, stage.id, false, direction))),
    ...rollback.map((stage, index) =>
      createEdge(stagesById, rollback[index - 1]?.id ?? last.id, stage.id, true, direction),
    ),
  ].filter((edge) => edge !== null);
  return { stages, edges, size: boundingSize(stages) };
}

function hasStarted(stage: PipelineStage): boolean {
  return stage.status !== StageStatus.STAGE_NOT_STARTED_YET;
}

function sortByIndex(stages: readonly PipelineStage[]): PipelineStage[] {
  return stages.toSorted((a, b) => a.index - b.index);
}

/** The length of the longest chain of required stages before each stage. A cycle, which no pipeline has, is cut. */
function computeDepths(stages: readonly PipelineStage[]): Map<string, number> {
  const stagesById = new Map(stages.map((stage) => [stage.id, stage]));
  const depths = new Map<string, number>();
  const computeDepth = (id: string): number => {
    const cached = depths.get(id);
    if (cached !== undefined) return cached;
    depths.set(id, 0);
    const required = stagesById.get(id)?.requires.filter((requiredId) => stagesById.has(requiredId)) ?? [];
    const depth = Math.max(-1, ...required.map(computeDepth)) + 1;
    depths.set(id, depth);
    return depth;
  };
  for (const stage of stages) computeDepth(stage.id);
  return depths;
}

/** The last stage that ran: the rollback starts after it. */
function lastReachedStage(
  forward: readonly PipelineStage[],
  depths: Map<string, number>,
): { id: string; depth: number } {
  const last = forward.filter((stage) => hasStarted(stage) && stage.status !== StageStatus.STAGE_SKIPPED).at(-1);
  return last ? { id: last.id, depth: depths.get(last.id) ?? 0 } : { id: "", depth: 0 };
}

function groupByDepth(stages: readonly PipelineStage[], depthOf: (stage: PipelineStage) => number): PipelineStage[][] {
  const columns: PipelineStage[][] = [];
  for (const stage of stages) (columns[depthOf(stage)] ??= []).push(stage);
  return Array.from(columns, (column) => column ?? []);
}

/** `shift` moves the stage away from the rows before it. */
function placeStage(
  stage: PipelineStage,
  column: number,
  row: number,
  shift: number,
  direction: Direction,
): PlacedStage {
  if (direction === "right") {
    const x = column * (STAGE_SIZE.width + GAP.column);
    return { stage, x, y: row * (STAGE_SIZE.height + GAP.row) + shift };
  }
  return { stage, x: row * (STAGE_SIZE.width + GAP.row) + shift, y: column * (STAGE_SIZE.height + GAP.column) };
}

function createEdge(
  stagesById: ReadonlyMap<string, PlacedStage>,
  from: string,
  to: string,
  rollback: boolean,
  direction: Direction,
): Edge | null {
  const [start, end] = [stagesById.get(from), stagesById.get(to)];
  if (!start || !end) return null;
  const path = rollback && direction === "down" ? pathBeside(start, end) : edgePath(start, end, direction);
  return { from, to, rollback, path };
}

function edgePath(start: PlacedStage, end: PlacedStage, direction: Direction): string {
  const { width, height } = STAGE_SIZE;
  if (direction === "right" && start.x === end.x) {
    return curve(start.x + width / 2, start.y + height, end.x + width / 2, end.y, "down");
  }
  if (direction === "down" && start.y === end.y) {
    return curve(start.x + width, start.y + height / 2, end.x, end.y + height / 2, "right");
  }
  return direction === "right"
    ? curve(start.x + width, start.y + height / 2, end.x, end.y + height / 2, "right")
    : curve(start.x + width / 2, start.y + height, end.x + width / 2, end.y, "down");
}

/** A path at the right of the stages between them, which the rollback does not run. */
function pathBeside(start: PlacedStage, end: PlacedStage): string {
  const { width, height } = STAGE_SIZE;
  const [x1, x2] = [start.x + width, end.x + width];
  const [y1, y2] = [start.y + height / 2, end.y + height / 2];
  return `M${x1},${y1} C${x1 + GAP.lane},${y1} ${x2 + GAP.lane},${y2} ${x2},${y2}`;
}

/** An SVG path that leaves and enters in `direction`. */
function curve(x1: number, y1: number, x2: number, y2: number, direction: Direction): string {
  if (direction === "right") {
    const middle = (x1 + x2) / 2;
    return `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
  }
  const middle = (y1 + y2) / 2;
  return `M${x1},${y1} C${x1},${middle} ${x2},${middle} ${x2},${y2}`;
}

function boundingSize(stages: readonly PlacedStage[]): Size {
  return {
    width: Math.max(0, ...stages.map((placed) => placed.x + STAGE_SIZE.width)),
    height: Math.max(0, ...stages.map((placed) => placed.y + STAGE_SIZE.height)),
  };
}
