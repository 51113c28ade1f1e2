// Names and versions of what a deployment deploys, shortened for display. They may be URLs of any length.

import type { ArtifactVersion } from "./schema/model/artifact_pb";
import { isWebUrl } from "./web-url";

/** The versions that are known. Agents report a version `N/A` if they find none. */
export const knownVersions = (versions: readonly ArtifactVersion[]): ArtifactVersion[] =>
  versions.filter(({ version }) => version !== "" && version !== "N/A");

/** The name, or the path of a repository or module whose name is its address. */
export function displayedName(name: string): string {
  if (!name) return "Source";
  return isWebUrl(name) ? shortenUrl(name) : name;
}

/** The version, or the last parts of the path if the version is a URL. */
export const displayedVersion = (version: string): string => (isWebUrl(version) ? shortenUrl(version) : version);

/** The last two parts of the path, without `.git`: `https://git.example/shop/web.git` → `shop/web`. */
function shortenUrl(text: string): string {
  const path = text.replace(/^https?:\/\/[^/?#]*/, "").split(/[?#]/)[0] ?? "";
  const parts = path.split("/").filter(Boolean);
  return parts.slice(-2).join("/").replace(/\.git$/, "") || text;
}
