// The rows of a log: only those on screen exist, and the view follows new lines until a user scrolls up.

import { useVirtualizer } from "@tanstack/react-virtual";
import { type UIEvent, useEffect, useRef } from "react";

/** In CSS pixels. */
export const LINE_HEIGHT = 20;
/** Within this distance of the end, the view follows new lines (CSS pixels). */
const FOLLOW_DISTANCE = 48;

interface LogRowsOptions {
  /** More lines may come. */
  active: boolean;
  /** Whether the view follows new lines at first. */
  follow: boolean;
}

export function useLogRows(lines: readonly unknown[], { active, follow }: LogRowsOptions) {
  const scrollElement = useRef<HTMLDivElement>(null);
  const following = useRef(follow);
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scrollElement.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 30,
  });
  useEffect(() => {
    if (following.current) rows.scrollToIndex(lines.length - 1, { align: "end" });
  }, [lines, rows]);
  const scrollTo = (index: number) => {
    following.current = false;
    rows.scrollToIndex(index, { align: "center" });
  };
  const scrollToEnd = () => {
    rows.scrollToIndex(lines.length - 1, { align: "end" });
    following.current = active;
  };
  const onScroll = ({ currentTarget: box }: UIEvent<HTMLElement>) => {
    following.current = active && box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_DISTANCE;
  };
  return { scrollElement, rows, scrollTo, scrollToEnd, onScroll };
}
