// One version that a deployment deploys: name and version, linked if the URL is known.

import { displayedName, displayedVersion } from "../artifact-version";
import type { ArtifactVersion } from "../schema/model/artifact_pb";
import { isWebUrl } from "../web-url";
import { WebLink } from "./web-link";

export function VersionLine({ version }: { version: ArtifactVersion }) {
  return (
    <div title={[version.name, version.version].filter(Boolean).join(" ")}>
      {displayedName(version.name)}{" "}
      <WebLink url={[version.url, version.version].find(isWebUrl)}>
        <span className="mono">{displayedVersion(version.version)}</span>
      </WebLink>
    </div>
  );
}
