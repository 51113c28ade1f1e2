// What differs between two deployments of an application, from what is stored of them.

import { displayedName, displayedVersion, knownVersions } from "../../artifact-version";
import { isRollback, startedAt } from "../../stages";
import type { Deployment } from "../../schema/model/deployment_pb";
import { formatDuration } from "../../time";

export interface Row {
  name: string;
  before: string;
  after: string;
}

const versions = ({ versions }: Deployment): string =>
  knownVersions(versions).map(({ name, version }) => `${displayedName(name)} ${displayedVersion(version)}`).join("\n");
const labels = ({ labels }: Deployment): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}:${value}`)
    .toSorted()
    .join("\n");
const duration = ({ createdAt, completedAt }: Deployment): string =>
  completedAt > 0n ? formatDuration(Number(completedAt - createdAt)) : "";

/** Properties of both deployments. */
export function compareFacts(before: Deployment, after: Deployment): Row[] {
  const properties: [string, (deployment: Deployment) => string][] = [
    ["Commit", ({ trigger }) => trigger?.commit?.hash.slice(0, 7) ?? ""],
    ["Message", ({ trigger }) => trigger?.commit?.message.split("\n")[0] ?? ""],
    ["Author", ({ trigger }) => trigger?.commit?.author.replace(/ <.*/, "") ?? ""],
    ["Triggered by", ({ trigger }) => trigger?.commander ?? ""],
    ["Versions", versions],
    ["How", ({ summary }) => summary],
    ["Directory", ({ gitPath }) => gitPath?.path ?? ""],
    ["Configuration file", ({ gitPath }) => gitPath?.configFilename ?? ""],
    ["Platform provider", ({ platformProvider }) => platformProvider],
    ["Labels", labels],
    ["Result", ({ statusReason }) => statusReason],
    ["Duration", duration],
  ];
  return properties
    .map(([name, read]) => ({ name, before: read(before), after: read(after) }))
    .filter((row) => row.before || row.after);
}

/** Stages of both deployments by name and occurrence, with their durations. */
export function compareStages(before: Deployment, after: Deployment): Row[] {
  const [first, second] = [stageDurations(before), stageDurations(after)];
  const names = [...new Set([...second.keys(), ...first.keys()])];
  return names.map((name) => ({ name, before: first.get(name) ?? "", after: second.get(name) ?? "" }));
}

function stageDurations({ stages }: Deployment): Map<string, string> {
  const durations = new Map<string, string>();
  const shown = stages.filter((stage) => !isRollback(stage)).toSorted((a, b) => a.index - b.index);
  for (const stage of shown) {
    let name = stage.name;
    for (let number = 2; durations.has(name); number += 1) name = `${stage.name} (${number})`;
    const start = startedAt(stage);
    durations.set(name, start && stage.completedAt > 0n ? formatDuration(Number(stage.completedAt) - start) : "not run");
  }
  return durations;
}
