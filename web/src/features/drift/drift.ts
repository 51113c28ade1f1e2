// Reads the texts in which agents describe differences: drift as a diff per resource, and plans of Terraform. Pure.

/** A resource that is different in Git, as two texts without the lines that the agent left out. */
export interface ChangedResource {
  title: string;
  running: string;
  git: string;
}

export interface DriftText {
  /** Sentences before the differences. */
  intro: string;
  changed: ChangedResource[];
  /** `ConfigMap a in shop`, with a note in brackets if there is one. */
  notInGit: string[];
  notRunning: string[];
  /** What is worth knowing and no drift. */
  notes: string[];
}

const ENTRY = /^([-+]) (.+): not (?:in Git|running)( \(.*\))?$/;
/** Between parts of a resource that are not next to each other. */
const GAP = "⋯";

/** Null if the text is no drift that is listed by resource, such as a plan of Terraform. */
export function parseDrift(text: string): DriftText | null {
  const lines = text.split("\n");
  const start = lines.findIndex((line, index) => /^--- running$/i.test(line) && lines[index + 1] === "+++ Git");
  if (start < 0) return null;
  const drift: DriftText = {
    intro: lines.slice(0, start).join("\n").trim(),
    changed: [],
    notInGit: [],
    notRunning: [],
    notes: [],
  };
  let resource: { title: string; running: string[]; git: string[] } | null = null;
  const finish = () => {
    if (!resource) return;
    drift.changed.push({ title: resource.title, running: resource.running.join("\n"), git: resource.git.join("\n") });
    resource = null;
  };
  for (const line of lines.slice(start + 2)) {
    const entry = ENTRY.exec(line);
    if (entry) {
      finish();
      (entry[1] === "-" ? drift.notInGit : drift.notRunning).push(`${entry[2] ?? ""}${entry[3] ?? ""}`);
    } else if (line.startsWith("# ") || /^[!~] /.test(line)) {
      finish();
      if (line.startsWith("# Added beside Git")) drift.notes.push(line.slice(2));
      else if (line.startsWith("# ")) resource = { title: line.slice(2), running: [], git: [] };
      else drift.notes.push(line.slice(2));
    } else {
      resource ??= { title: "", running: [], git: [] };
      addLine(resource, line);
    }
  }
  finish();
  return drift;
}

function addLine(resource: { running: string[]; git: string[] }, line: string): void {
  if (line.startsWith("@@")) {
    if (resource.running.length + resource.git.length === 0) return;
    resource.running.push(GAP);
    resource.git.push(GAP);
    return;
  }
  const text = line.slice(1);
  if (!line.startsWith("+")) resource.running.push(text);
  if (!line.startsWith("-")) resource.git.push(text);
}

export type PlanLineKind = "create" | "destroy" | "update" | "replace" | "heading" | "text";

export interface PlanLine {
  kind: PlanLineKind;
  text: string;
}

export interface PlanCounts {
  add: number;
  change: number;
  destroy: number;
}

const LEGEND = /Resource actions are indicated with the following( symbols)?|^symbols:$/;
const SIGN = /^\s*(-\/\+|\+\/-|[-+~])(\s|$)/;
const KINDS: Readonly<Record<string, PlanLineKind>> = {
  "+": "create",
  "-": "destroy",
  "~": "update",
  "-/+": "replace",
  "+/-": "replace",
};

const PLAN_BEGINS =
  /^(Note: Objects have changed outside|Terraform used the selected providers|Terraform will perform the following|No changes\.|Changes to Outputs:)/;
/** Below it Terraform says where it stored the plan. */
const PLAN_ENDS = /^─{20,}/;

/** The plan in the log of a stage, without the initialization before it; the whole log if there is none. */
export function planInLog(log: string): string {
  const lines = log.split("\n");
  const begin = lines.findIndex((line) => PLAN_BEGINS.test(line));
  if (begin < 0) return log;
  const length = lines.slice(begin).findIndex((line) => PLAN_ENDS.test(line));
  return lines.slice(begin, length < 0 ? undefined : begin + length).join("\n").trimEnd();
}

/** The lines of a plan of Terraform with what they stand for. The legend of its signs is no change. */
export function parsePlan(text: string): PlanLine[] {
  let inLegend = false;
  return text.split("\n").map((line): PlanLine => {
    if (LEGEND.test(line)) inLegend = true;
    else if (inLegend && line.trim() === "") inLegend = false;
    if (inLegend) return { kind: "text", text: line };
    if (/^\s*# /.test(line)) return { kind: /must be replaced/.test(line) ? "replace" : "heading", text: line };
    if (/^(Plan:|Changes to Outputs:|No changes)/.test(line)) return { kind: "heading", text: line };
    return { kind: KINDS[SIGN.exec(line)?.[1] ?? ""] ?? "text", text: line };
  });
}

/** The numbers in `Plan: 1 to add, 2 to change, 0 to destroy`; null if the text has none. */
export function planCounts(text: string): PlanCounts | null {
  const numbers = /(\d+) to add, (\d+) to change, (\d+) to destroy/.exec(text);
  if (!numbers) return null;
  const [add = 0, change = 0, destroy = 0] = numbers.slice(1).map(Number);
  return { add, change, destroy };
}
