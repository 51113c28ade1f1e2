// A link to another site, whose address comes from a repository or an agent.

import type { ReactNode } from "react";

import { isWebUrl } from "../web-url";
import classes from "./web-link.module.css";

interface WebLinkProps {
  url: string | undefined;
  title?: string;
  className?: string;
  children: ReactNode;
}

/** Links only to http(s), never to a javascript: URL; any other text is shown without a link. */
export function WebLink({ url = "", title, className = "", children }: WebLinkProps) {
  if (!isWebUrl(url)) {
    return (
      <span title={title} className={className}>
        {children}
      </span>
    );
  }
  return (
    <a href={url} title={title} className={`${classes.link} ${className}`} target="_blank" rel="noreferrer">
      {children}
    </a>
  );
}
