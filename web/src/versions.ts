// Versions of pipeds: their normal form, the progress of an upgrade, and the versions to offer.

import type { Piped } from "./schema/model/piped_pb";

/** A launcher checks its version every minute, and an installation takes a few minutes at most. */
const UPGRADE_TIMEOUT_SECONDS = 600;

/** Adds the prefix `v` if it is missing: `0.1.1` → `v0.1.1`. */
export const normalizeVersion = (version: string): string => (/^v/.test(version) ? version : `v${version}`);

export const isSameVersion = (a: string, b: string): boolean => normalizeVersion(a) === normalizeVersion(b);

type VersionedPiped = Pick<Piped, "version" | "desiredVersion" | "disabled" | "updatedAt">;

export type UpgradeStatus = "none" | "upgrading" | "delayed" | "disabled";

/**
 * The status of the upgrade to the desired version. `now` is in seconds since 1970.
 * The record does not show whether the piped runs under a launcher, so an upgrade may never finish.
 */
export function upgradeStatus(piped: VersionedPiped, now: number): UpgradeStatus {
  if (!piped.desiredVersion || isSameVersion(piped.desiredVersion, piped.version)) return "none";
  if (piped.disabled) return "disabled";
  return now - Number(piped.updatedAt) > UPGRADE_TIMEOUT_SECONDS ? "delayed" : "upgrading";
}

/** The first number that differs decides: `v0.2.1` is older than `v0.10.0`. False if either has no numbers. */
export function isOlder(version: string, than: string): boolean {
  const [a, b] = [numbersOf(version), numbersOf(than)];
  if (a.length === 0 || b.length === 0) return false;
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}

const numbersOf = (version: string): number[] => /^v?(\d+(?:\.\d+)*)/.exec(version)?.[1]?.split(".").map(Number) ?? [];

/** Agents of this project report the package `pipecd`. One that has never connected may become one. */
export const isOurs = (piped: Pick<Piped, "version" | "package">): boolean =>
  piped.package === "pipecd" || !piped.version;

/** The released versions, then the current and desired versions of the pipeds, without duplicates. */
export function versionOptions(released: readonly string[], pipeds: readonly VersionedPiped[]): string[] {
  const used = pipeds.flatMap((piped) => [piped.version, piped.desiredVersion]).filter(Boolean);
  return [...new Set([...released, ...used.map(normalizeVersion).toSorted()])];
}
