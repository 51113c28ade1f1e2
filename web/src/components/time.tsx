// Relative times and durations that stay current. All of them share one clock, which ticks only while needed.

import { useSyncExternalStore } from "react";

import { formatAge, formatDateTime, formatDuration, formatRelative } from "../time";

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

/** The last time that a `Date` can hold. A platform may report any number. */
const LAST_SECOND = 8_640_000_000_000;
const toSeconds = (at: bigint | number): number => Math.max(0, Math.min(LAST_SECOND, Number(at)));

interface RelativeTimeProps {
  /** Seconds since 1970. */
  at: bigint | number;
}

export function RelativeTime({ at }: RelativeTimeProps) {
  const seconds = toSeconds(at);
  // Changes only with the text: a page may show hundreds.
  const text = useSyncExternalStore(subscribe, () => (seconds ? formatRelative(seconds, now) : "never"));
  if (!seconds) return <span>{text}</span>;
  return (
    <time dateTime={new Date(seconds * 1000).toISOString()} title={formatDateTime(seconds)}>
      {text}
    </time>
  );
}

/** How long ago, in a few characters; empty without a time. Changes only with the text: a picture may show a thousand. */
export function useAge(at: bigint | number): string {
  const seconds = toSeconds(at);
  return useSyncExternalStore(subscribe, () => (seconds ? formatAge(now - seconds) : ""));
}

interface AgeProps extends RelativeTimeProps {
  /** From `useAge`. */
  text: string;
}

export function Age({ at, text }: AgeProps) {
  const seconds = toSeconds(at);
  return (
    <time dateTime={new Date(seconds * 1000).toISOString()} title={`Created ${formatDateTime(seconds)}`}>
      {text}
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
