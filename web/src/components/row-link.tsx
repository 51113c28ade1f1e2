// A link of a list, or of the navigation. The router's own link renders again with every navigation, and a list has
// hundreds of links: their hrefs are absolute, so these do not depend on where the console is.

import { createContext, type MouseEvent, type ReactNode, use, useMemo } from "react";
import { useNavigate } from "react-router";

type Follow = (event: MouseEvent<HTMLAnchorElement>) => void;

const FollowContext = createContext<Follow | undefined>(undefined);

/** Follows the links inside it. */
export function RowLinks({ children }: { children: ReactNode }) {
  const navigate = useNavigate();
  const follow = useMemo(() => followWith(navigate), [navigate]);
  return <FollowContext value={follow}>{children}</FollowContext>;
}

/** A click with a modifier is left to the browser, which opens another tab or a window. The same page is no new entry of the history. */
const followWith =
  (navigate: ReturnType<typeof useNavigate>): Follow =>
  (event) => {
    if (event.button !== 0 || event.metaKey || event.altKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const { href, pathname, search, hash } = event.currentTarget;
    void navigate({ pathname, search, hash }, { replace: href === window.location.href });
  };

interface RowLinkProps {
  /** From the root: "/applications/…". */
  to: `/${string}`;
  className?: string;
  title?: string;
  "aria-label"?: string;
  onClick?: Follow | undefined;
  children?: ReactNode;
}

export function RowLink({ to, onClick, children, ...others }: RowLinkProps) {
  const follow = use(FollowContext);
  const both: Follow = (event) => {
    onClick?.(event);
    follow?.(event);
  };
  return (
    <a href={to} {...others} onClick={onClick ? both : follow}>
      {children}
    </a>
  );
}
