// The rows of a log: only those on screen exist, and the view follows new lines until a user scrolls up.

import { defaultRangeExtractor, useVirtualizer } from "@tanstack/react-virtual";
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
  /** The height of a row in CSS pixels, from its index. */
  rowHeight?: (index: number) => number;
  /** The index of the heading that a row belongs to, which stays on screen; −1 if there is none. */
  headingOf?: (index: number) => number;
}

const lineHeight = () => LINE_HEIGHT;
const noHeading = () => -1;

/** `changed` is another value whenever the rows are others. */
export function useLogRows(count: number, changed: unknown, options: LogRowsOptions) {
  const { active, follow, rowHeight = lineHeight, headingOf = noHeading } = options;
  const scrollElement = useRef<HTMLDivElement>(null);
  const following = useRef(follow);
  const rows = useVirtualizer({
    count,
    getScrollElement: () => scrollElement.current,
    estimateSize: rowHeight,
    overscan: 30,
    rangeExtractor: (range) => {
      const heading = headingOf(range.startIndex);
      const shown = defaultRangeExtractor(range);
      return heading < 0 || heading >= (shown[0] ?? 0) ? shown : [heading, ...shown];
    },
  });
  useEffect(() => {
    if (following.current) rows.scrollToIndex(count - 1, { align: "end" });
  }, [changed, count, rows]);
  const scrollTo = (index: number) => {
    following.current = false;
    rows.scrollToIndex(index, { align: "center" });
  };
  const scrollToEnd = () => {
    rows.scrollToIndex(count - 1, { align: "end" });
    following.current = active;
  };
  const onScroll = ({ currentTarget: box }: UIEvent<HTMLElement>) => {
    following.current = active && box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_DISTANCE;
  };
  const stickyIndex = headingOf(rows.range?.startIndex ?? 0);
  return { scrollElement, rows, stickyIndex, scrollTo, scrollToEnd, onScroll };
}
