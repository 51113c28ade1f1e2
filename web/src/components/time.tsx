// Relative times and durations that stay current. All of them share one clock, which ticks only while needed.

import { useSyncExternalStore } from "react";

import { formatDateTime, formatDuration, formatRelative } from "../time";

const listeners = new Set<() => void>();
let ticker: ReturnType<typeof setInterval> | undefined;
/** Seconds since 1970. */
let now = Math.floor(Date.now() / 1000);

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  ticker ??= setInterval(() => {
    now = Math.floor(Date.now() / 1000);
    for (const notify of listeners) notify();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    clearInterval(ticker);
    ticker = undefined;
  };
}

/** The current time in seconds since 1970; updates the component every second. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => now);
}

interface RelativeTimeProps {
  /** Seconds since 1970. */
  at: bigint | number;
}

export function RelativeTime({ at }: RelativeTimeProps) {
  const now = useNow();
  const seconds = Number(at);
  if (!seconds) return <span>never</span>;
  return (
    <time dateTime={new Date(seconds * 1000).toISOString()} title={formatDateTime(seconds)}>
      {formatRelative(seconds, now)}
    </time>
  );
}

interface DurationProps {
  /** Seconds since 1970. */
  from: bigint | number;
  /** Seconds since 1970; 0 if not ended. */
  until: bigint | number;
}

export function Duration({ from, until }: DurationProps) {
  if (Number(until)) return <span>{formatDuration(Number(until) - Number(from))}</span>;
  return <RunningDuration from={from} />;
}

function RunningDuration({ from }: Pick<DurationProps, "from">) {
  const now = useNow();
  return <span>{formatDuration(now - Number(from))}</span>;
}
