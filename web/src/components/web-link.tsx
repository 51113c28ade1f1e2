// A link to another site, whose address comes from a repository or an agent.

import { Anchor } from "@mantine/core";
import type { ReactNode } from "react";

import { isWebUrl } from "../web-url";

interface WebLinkProps {
  url: string | undefined;
  title?: string;
  className?: string;
  children: ReactNode;
}

/** Links only to http(s), never to a javascript: URL; any other text is shown without a link. */
export function WebLink({ url = "", title, className, children }: WebLinkProps) {
  if (!isWebUrl(url)) {
    return (
      <span title={title} className={className}>
        {children}
      </span>
    );
  }
  return (
    <Anchor href={url} title={title} className={className} target="_blank" rel="noreferrer" inherit>
      {children}
    </Anchor>
  );
}
