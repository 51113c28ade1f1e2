// The rows of a log: only those on screen exist, and the view follows new lines until a user scrolls up.

import { defaultRangeExtractor, useVirtualizer } from "@tanstack/react-virtual";
import { type UIEvent, useEffect, useRef, useState } from "react";

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

type ScrollPosition = Pick<HTMLElement, "scrollTop" | "scrollHeight" | "clientHeight">;

/**
 * Whether the view follows new lines after it was scrolled: scrolling up stops it, reaching the end starts it. New
 * lines alone also increase the distance from the end.
 */
export function followsAfterScroll(following: boolean, previousTop: number, position: ScrollPosition): boolean {
  const { scrollTop, scrollHeight, clientHeight } = position;
  if (scrollHeight - scrollTop - clientHeight < FOLLOW_DISTANCE) return following || scrollTop > previousTop;
  return following && scrollTop >= previousTop;
}

const lineHeight = () => LINE_HEIGHT;
const noHeading = () => -1;

/** `changed` is another value whenever the rows are others. */
export function useLogRows(count: number, changed: unknown, options: LogRowsOptions) {
  const { active, follow, rowHeight = lineHeight, headingOf = noHeading } = options;
  const scrollElement = useRef<HTMLDivElement>(null);
  const [isFollowing, setFollowing] = useState(follow);
  const previousTop = useRef(0);
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
    if (isFollowing) rows.scrollToIndex(count - 1, { align: "end" });
  }, [changed, count, rows, isFollowing]);
  const scrollTo = (index: number) => {
    setFollowing(false);
    rows.scrollToIndex(index, { align: "center" });
  };
  const scrollToEnd = () => {
    rows.scrollToIndex(count - 1, { align: "end" });
    setFollowing(active);
  };
  const onScroll = ({ currentTarget: box }: UIEvent<HTMLElement>) => {
    // The last lines of a log that has just ended are followed, but a log that is loaded is not.
    setFollowing((active || isFollowing) && followsAfterScroll(isFollowing, previousTop.current, box));
    previousTop.current = box.scrollTop;
  };
  const stickyIndex = headingOf(rows.range?.startIndex ?? 0);
  return { scrollElement, rows, stickyIndex, isFollowing, setFollowing, scrollTo, scrollToEnd, onScroll };
}
