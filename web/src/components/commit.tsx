// A commit: its short hash, linked if its URL is known, and the first line of its message.

import type { Commit } from "../schema/model/trigger_pb";
import { WebLink } from "./web-link";

interface CommitProps {
  commit: Commit | undefined;
  message?: boolean;
}

export function CommitLine({ commit, message = true }: CommitProps) {
  if (!commit) return null;
  return (
    <span>
      <CommitHash hash={commit.hash} url={commit.url} />
      {message && <> {commit.message.split("\n")[0]}</>}
    </span>
  );
}

interface CommitHashProps {
  hash: string;
  url?: string;
}

export function CommitHash({ hash, url }: CommitHashProps) {
  return (
    <WebLink url={url} title={hash} className="mono">
      {hash.slice(0, 7)}
    </WebLink>
  );
}
