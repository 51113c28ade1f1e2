// Kinds of applications. A kind is the name of the platform that deploys the application, such as TERRAFORM. PipeCD's
// schema has numbers for some kinds; all others are stored as the plugin of the same name in lower case.

import type { Application } from "./schema/model/application_pb";
import type { Deployment } from "./schema/model/deployment_pb";
import { ApplicationKind } from "./schema/model/kind_pb";
import type { Piped } from "./schema/model/piped_pb";

type KindFields = Pick<Application | Deployment, "kind" | "platformProvider" | "deployTargetsByPlugin">;

const NUMBERED_KINDS = Object.values(ApplicationKind).filter((value) => typeof value === "string");

/** Names that are not shown as they are. */
const DISPLAY_NAMES: Record<string, string> = {
  KUBERNETES: "Kubernetes",
  TERRAFORM: "Terraform",
  LAMBDA: "Lambda",
  CLOUDRUN: "Cloud Run",
};

export const kindName = (kind: string): string => DISPLAY_NAMES[kind] ?? kind;

export const kindOfPlugin = (plugin: string): string => plugin.toUpperCase();

export function kindOf(record: Pick<KindFields, "kind" | "deployTargetsByPlugin">): string {
  const plugins = Object.keys(record.deployTargetsByPlugin);
  if (plugins.length > 0) return plugins.map(kindOfPlugin).toSorted().join(", ");
  return ApplicationKind[record.kind] ?? `KIND_${record.kind}`;
}

/** The name of the platform provider, or of the deploy targets. */
export function providerOf(record: KindFields): string {
  const targets = Object.values(record.deployTargetsByPlugin).flatMap((plugin) => plugin.deployTargets);
  return targets.join(", ") || record.platformProvider;
}

/** The fields of an application of `kind` that is deployed by a platform provider. */
export function kindFields(kind: string, provider: string): Partial<KindFields> {
  const number = ApplicationKind[kind as keyof typeof ApplicationKind];
  if (number !== undefined) return { kind: number, platformProvider: provider };
  const targets = { $typeName: "model.DeployTargets" as const, deployTargets: provider ? [provider] : [] };
  return { deployTargetsByPlugin: { [kind.toLowerCase()]: targets } };
}

/** The kinds that `pipeds` can deploy. A piped that does not report its platforms may have any numbered kind. */
export function kindsOf(pipeds: readonly Piped[]): string[] {
  const kinds = pipeds.flatMap((piped) =>
    piped.plugins.length > 0 ? piped.plugins.map((plugin) => kindOfPlugin(plugin.name)) : NUMBERED_KINDS,
  );
  return [...new Set(kinds)].toSorted();
}

/** The kinds that a project's applications can have. */
export function kindOptions(pipeds: readonly Piped[]): { value: string; label: string }[] {
  const kinds = [...new Set([...NUMBERED_KINDS, ...kindsOf(pipeds)])];
  return kinds.map((kind) => ({ value: kind.toLowerCase(), label: kindName(kind) }));
}

/** The names of a piped's platform providers for a kind. */
export function providersFor(piped: Piped | undefined, kind: string): string[] {
  const providers = (piped?.platformProviders ?? []).filter((provider) => provider.type === kind);
  const plugins = (piped?.plugins ?? []).filter((plugin) => kindOfPlugin(plugin.name) === kind);
  return [...new Set([...providers.map(({ name }) => name), ...plugins.flatMap(({ deployTargets }) => deployTargets)])];
}

/** The platform providers whose platform is not installed where the piped runs. */
export function providersWithoutPlatform(piped: Piped): { name: string; kind: string }[] {
  if (piped.plugins.length === 0) return [];
  const installed = new Set(kindsOf([piped]));
  return piped.platformProviders
    .filter((provider) => !installed.has(provider.type))
    .map((provider) => ({ name: provider.name, kind: provider.type }));
}
