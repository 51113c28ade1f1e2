// A commit: its short hash, linked if its URL is known, and the first line of its message.

import { Anchor } from "@mantine/core";

import type { Commit } from "../schema/model/trigger_pb";

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

export function CommitHash({ hash, url = "" }: CommitHashProps) {
  const short = hash.slice(0, 7);
  // The URL comes from the repository: link only to http(s), never to a javascript: URL.
  if (!/^https?:\/\//.test(url)) {
    return (
      <span className="mono" title={hash}>
        {short}
      </span>
    );
  }
  return (
    <Anchor href={url} className="mono" title={hash} target="_blank" rel="noreferrer" inherit>
      {short}
    </Anchor>
  );
}
