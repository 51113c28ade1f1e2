// Commands that change labels of several applications in their files: labels are in Git, and agents report them.

import { groupBy } from "../../group-by";
import type { Application } from "../../schema/model/application_pb";

const LABEL = /^([A-Za-z0-9._/@+-]+):([A-Za-z0-9._/@+-]+)$/;

/** Key and value of `key:value`; null if it is none, or has characters that commands would have to escape. */
export function parseLabel(text: string): [string, string] | null {
  const [, key, value] = LABEL.exec(text.trim()) ?? [];
  return key && value ? [key, value] : null;
}

/** The keys of the applications' labels that commands can remove, sorted. */
export function removableKeys(applications: readonly Pick<Application, "labels">[]): string[] {
  const keys = new Set(applications.flatMap(({ labels }) => Object.keys(labels)));
  return [...keys].filter((key) => parseLabel(`${key}:x`)).toSorted();
}

const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The commands for each repository. Empty without a change. Paths and addresses are quoted for a POSIX shell. */
export function labelCommands(
  applications: readonly Pick<Application, "gitPath">[],
  labels: readonly (readonly [string, string])[],
  removed: readonly string[],
): string {
  const changes = [
    ...labels.map(([key, value]) => `.spec.labels["${key}"] = "${value}"`),
    ...removed.map((key) => `del(.spec.labels["${key}"])`),
  ];
  if (changes.length === 0) return "";
  const repositories = groupBy(
    applications.filter(({ gitPath }) => gitPath?.repo),
    ({ gitPath }) => `${gitPath?.repo?.remote ?? ""}\n${gitPath?.repo?.branch ?? ""}`,
  );
  const parts = [...repositories].map(([name, members], index) => {
    const [remote = "", branch = ""] = name.split("\n");
    const files = members.map(({ gitPath }) => `./${gitPath?.path ?? ""}/${gitPath?.configFilename || "app.pipecd.yaml"}`);
    const folder = `change-labels-${index + 1}`;
    return [
      `git clone --branch ${quote(branch)} -- ${quote(remote)} ${folder}`,
      `(cd ${folder} &&`,
      `  yq --inplace ${quote(changes.join(" | "))} ${files.map(quote).join(" ")} &&`,
      `  git commit --all --message 'Change labels' &&`,
      `  git push)`,
    ].join("\n");
  });
  return parts.join("\n\n");
}
