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

/** The released versions, then the current and desired versions of the pipeds, without duplicates. */
export function versionOptions(released: readonly string[], pipeds: readonly VersionedPiped[]): string[] {
  const used = pipeds.flatMap((piped) => [piped.version, piped.desiredVersion]).filter(Boolean);
  return [...new Set([...released, ...used.map(normalizeVersion).toSorted()])];
}
