// Moments and spans on the page. All of them share one clock, which ticks only while one is shown.

import { useSyncExternalStore } from "react";

import { ago, moment, span } from "../time";

const watchers = new Set<() => void>();
let ticking: ReturnType<typeof setInterval> | undefined;
let second = Math.floor(Date.now() / 1000);

function watch(watcher: () => void): () => void {
  watchers.add(watcher);
  ticking ??= setInterval(() => {
    second = Math.floor(Date.now() / 1000);
    for (const each of watchers) each();
  }, 1000);
  return () => {
    watchers.delete(watcher);
    if (watchers.size > 0) return;
    clearInterval(ticking);
    ticking = undefined;
  };
}

export function useNow(): number {
  return useSyncExternalStore(watch, () => second);
}

interface AgoProps {
  /** Seconds since 1970. */
  at: bigint | number;
}

export function Ago({ at }: AgoProps) {
  const now = useNow();
  const seconds = Number(at);
  if (!seconds) return <span>never</span>;
  return (
    <time dateTime={new Date(seconds * 1000).toISOString()} title={moment(seconds)}>
      {ago(seconds, now)}
    </time>
  );
}

interface LastedProps {
  from: bigint | number;
  /** 0 while it still goes on. */
  until: bigint | number;
}

export function Lasted({ from, until }: LastedProps) {
  return Number(until) ? <span>{span(Number(until) - Number(from))}</span> : <Lasting from={from} />;
}

function Lasting({ from }: Pick<LastedProps, "from">) {
  const now = useNow();
  return <span>{span(now - Number(from))}</span>;
}
