// Versions as people write them (`0.1.1`) and as they are asked for (`v0.1.1`), and how an agent gets
// from one to another.

import type { Piped } from "./schema/model/piped_pb";

/** A launcher looks for its version every minute; installing one takes a few more at most. Seconds. */
const LONG = 600;

export const asked = (version: string): string => (/^v/.test(version) ? version : `v${version}`);

export const sameVersion = (one: string, other: string): boolean => asked(one) === asked(other);

type Asked = Pick<Piped, "version" | "desiredVersion" | "disabled" | "updatedAt">;

/** `now` in seconds since 1970. What an agent is told by its record; the record does not tell of a launcher. */
export function progress(piped: Asked, now: number): "there" | "under way" | "stuck" | "off" {
  if (!piped.desiredVersion || sameVersion(piped.desiredVersion, piped.version)) return "there";
  if (piped.disabled) return "off";
  return now - Number(piped.updatedAt) > LONG ? "stuck" : "under way";
}

/** What to offer: the control plane's own versions, then what the agents run or are asked to run. */
export function offered(released: readonly string[], pipeds: readonly Asked[]): string[] {
  const known = pipeds.flatMap((piped) => [piped.version, piped.desiredVersion]).filter(Boolean);
  return [...new Set([...released, ...known.map(asked).toSorted()])];
}
