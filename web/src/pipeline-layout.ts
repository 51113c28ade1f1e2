// Where each stage of a pipeline stands and which lines join them. Columns follow `requires`;
// rollback stages run one after another in a lane of their own, and only those that were reached are drawn.

import { type PipelineStage, StageStatus } from "./schema/model/stage_pb";

export interface Size {
  width: number;
  height: number;
}

export interface Placed {
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

export interface Layout {
  stages: Placed[];
  edges: Edge[];
  size: Size;
}

export const STAGE: Size = { width: 236, height: 84 };
const GAP = { across: 44, beside: 18, lane: 34 };

/** `down` suits narrow screens: the pipeline runs from top to bottom. */
export type Direction = "right" | "down";

export function layOut(all: readonly PipelineStage[], direction: Direction): Layout {
  const forward = shown(all.filter((stage) => !stage.rollback && (stage.visible || reached(stage))));
  const rollback = shown(all.filter((stage) => stage.rollback && reached(stage)));
  const depths = depthsOf(forward);
  const columns = groupBy(forward, (stage) => depths.get(stage.id) ?? 0);
  const widest = Math.max(1, ...columns.map((column) => column.length));
  const stages = columns.flatMap((column, depth) =>
    column.map((stage, row) => place(stage, depth, row + (widest - column.length) / 2, 0, direction)),
  );
  const turn = turningPoint(forward, depths);
  stages.push(...rollback.map((stage, index) => place(stage, turn.depth + index, widest, GAP.lane, direction)));
  const at = new Map(stages.map((each) => [each.stage.id, each]));
  const edges = [
    ...forward.flatMap((stage) => stage.requires.map((id) => edge(at, id, stage.id, false, direction))),
    ...rollback.map((stage, index) => edge(at, rollback[index - 1]?.id ?? turn.id, stage.id, true, direction)),
  ].filter((each) => each !== null);
  return { stages, edges, size: sizeOf(stages) };
}

function reached(stage: PipelineStage): boolean {
  return stage.status !== StageStatus.STAGE_NOT_STARTED_YET;
}

function shown(stages: readonly PipelineStage[]): PipelineStage[] {
  return stages.toSorted((one, other) => one.index - other.index);
}

/** How many stages at least must come before each. A circle, which no pipeline has, is cut where it is met. */
function depthsOf(stages: readonly PipelineStage[]): Map<string, number> {
  const byId = new Map(stages.map((stage) => [stage.id, stage]));
  const depths = new Map<string, number>();
  const depth = (id: string): number => {
    const known = depths.get(id);
    if (known !== undefined) return known;
    depths.set(id, 0);
    const before = byId.get(id)?.requires.filter((each) => byId.has(each)) ?? [];
    const found = Math.max(-1, ...before.map(depth)) + 1;
    depths.set(id, found);
    return found;
  };
  for (const stage of stages) depth(stage.id);
  return depths;
}

/** The last stage that was reached: there the way forward ended. */
function turningPoint(forward: readonly PipelineStage[], depths: Map<string, number>): { id: string; depth: number } {
  const last = forward.filter((stage) => reached(stage) && stage.status !== StageStatus.STAGE_SKIPPED).at(-1);
  return last ? { id: last.id, depth: depths.get(last.id) ?? 0 } : { id: "", depth: 0 };
}

function groupBy(stages: readonly PipelineStage[], depth: (stage: PipelineStage) => number): PipelineStage[][] {
  const columns: PipelineStage[][] = [];
  for (const stage of stages) (columns[depth(stage)] ??= []).push(stage);
  return Array.from(columns, (column) => column ?? []);
}

function place(stage: PipelineStage, along: number, beside: number, shift: number, direction: Direction): Placed {
  if (direction === "right") {
    const x = along * (STAGE.width + GAP.across);
    return { stage, x, y: beside * (STAGE.height + GAP.beside) + shift };
  }
  return { stage, x: beside * (STAGE.width + GAP.beside) + shift, y: along * (STAGE.height + GAP.across) };
}

function edge(
  at: ReadonlyMap<string, Placed>,
  from: string,
  to: string,
  rollback: boolean,
  direction: Direction,
): Edge | null {
  const [start, end] = [at.get(from), at.get(to)];
  if (!start || !end) return null;
  return { from, to, rollback, path: curve(start, end, direction) };
}

function curve(start: Placed, end: Placed, direction: Direction): string {
  const { width, height } = STAGE;
  if (direction === "right" && start.x === end.x) {
    return line(start.x + width / 2, start.y + height, end.x + width / 2, end.y, "down");
  }
  if (direction === "down" && start.y === end.y) {
    return line(start.x + width, start.y + height / 2, end.x, end.y + height / 2, "right");
  }
  return direction === "right"
    ? line(start.x + width, start.y + height / 2, end.x, end.y + height / 2, "right")
    : line(start.x + width / 2, start.y + height, end.x + width / 2, end.y, "down");
}

function line(x1: number, y1: number, x2: number, y2: number, direction: Direction): string {
  if (direction === "right") {
    const middle = (x1 + x2) / 2;
    return `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}`;
  }
  const middle = (y1 + y2) / 2;
  return `M${x1},${y1} C${x1},${middle} ${x2},${middle} ${x2},${y2}`;
}

function sizeOf(stages: readonly Placed[]): Size {
  return {
    width: Math.max(0, ...stages.map((each) => each.x + STAGE.width)),
    height: Math.max(0, ...stages.map((each) => each.y + STAGE.height)),
  };
}
