// One version that a deployment deploys: name and version, linked if the URL is known.

import { Anchor } from "@mantine/core";

import { displayedName, displayedVersion, isWebUrl } from "../artifact-version";
import type { ArtifactVersion } from "../schema/model/artifact_pb";

export function VersionLine({ version }: { version: ArtifactVersion }) {
  const text = <span className="mono">{displayedVersion(version.version)}</span>;
  // The URL comes from the repository: link only to http(s), never to a javascript: URL.
  const url = [version.url, version.version].find(isWebUrl);
  return (
    <div title={[version.name, version.version].filter(Boolean).join(" ")}>
      {displayedName(version.name)}{" "}
      {url ? (
        <Anchor href={url} target="_blank" rel="noreferrer" inherit>
          {text}
        </Anchor>
      ) : (
        text
      )}
    </div>
  );
}
