// The versions that a deployment deploys: name and version, linked if the URL is known.

import type { ReactNode } from "react";

import { displayedName, displayedVersion, knownVersions } from "../artifact-version";
import type { ArtifactVersion } from "../schema/model/artifact_pb";
import { isWebUrl } from "../web-url";
import { Breakable } from "./breakable";
import { WebLink } from "./web-link";

/** A line for each known version; null if there is none. */
export function versionLines(versions: readonly ArtifactVersion[]): ReactNode {
  const known = knownVersions(versions);
  return known.length > 0 ? known.map((version) => <VersionLine key={`${version.name}@${version.version}`} version={version} />) : null;
}

function VersionLine({ version }: { version: ArtifactVersion }) {
  return (
    <div title={[version.name, version.version].filter(Boolean).join(" ")}>
      <Breakable text={displayedName(version.name)} />{" "}
      <WebLink url={[version.url, version.version].find(isWebUrl)}>
        <span className="mono">
          <Breakable text={displayedVersion(version.version)} />
        </span>
      </WebLink>
    </div>
  );
}
