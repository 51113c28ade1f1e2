// Keeps every page true without a reload: one Watch stream a tab says what changed, and what shows
// it is fetched anew. Without the stream everything on screen is fetched every few seconds.

import type { QueryClient, QueryKey } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useSyncExternalStore } from "react";

import { board, isSignedOut } from "./api";
import { forgetUser, key } from "./queries";
import { type ConsoleChange, ConsoleChange_Kind as Kind } from "./schema/pipecd/v1/console_pb";

export type Connection = "connecting" | "live" | "polling";

type Change = Pick<ConsoleChange, "kind" | "id" | "stageId">;
type StageLogListener = (deploymentId: string, stageId: string) => void;

const POLL_MS = 5_000;
const SPACING_MS = 250;
const LONGEST_FETCH_MS = 5_000;
const SILENCE_MS = 40_000;
const HIDDEN_MS = 60_000;
const RETRY_MS = { first: 500, longest: 15_000 };

/** Which queries a change makes stale; null means all of them. */
export function touched(change: Change): readonly QueryKey[] | null {
  switch (change.kind) {
    case Kind.APPLICATION:
      return [key.applications, key.glance, key.application(change.id)];
    case Kind.DEPLOYMENT:
      return [key.deployments, key.deployment(change.id)];
    case Kind.COMMAND:
      return [key.command(change.id)];
    case Kind.PIPED:
      return [key.pipeds];
    case Kind.API_KEY:
      return [key.apiKeys];
    case Kind.SUGGESTIONS:
      return [key.suggestions];
    case Kind.PROJECT:
      return [key.me];
    case Kind.LIVE_STATE:
      return [key.liveState(change.id)];
    case Kind.RESYNC:
      return null;
    default:
      return [];
  }
}

/** How long to wait before try number `tries` (from 0): doubling, with full jitter. */
export function retryDelay(tries: number, random: number): number {
  const bound = Math.min(RETRY_MS.longest, RETRY_MS.first * 2 ** tries);
  return RETRY_MS.first / 2 + random * bound;
}

/**
 * Fetches what is on screen of `keys`; answers which of it is to be fetched once more. A query that has no answer
 * yet takes the one that is under way, and that may have been given before the change.
 */
export async function fetchAnew(client: QueryClient, keys: readonly QueryKey[]): Promise<QueryKey[]> {
  const underWay = keys.flatMap((queryKey) => client.getQueryCache().findAll({ queryKey, fetchStatus: "fetching" }));
  const first = underWay.filter((query) => query.state.data === undefined).map((query) => query.queryKey);
  const fetched = keys.map((queryKey) => client.invalidateQueries({ queryKey }));
  await Promise.race([Promise.allSettled(fetched), pause(LONGEST_FETCH_MS)]);
  return first;
}

export class Live {
  #connection: Connection = "connecting";
  #watchers = new Set<() => void>();
  #logListeners = new Set<StageLogListener>();
  #stale = new Map<string, QueryKey>();
  #refreshing = false;
  #owner: AbortController | null = null;

  constructor(private readonly client: QueryClient) {}

  get connection(): Connection {
    return this.#connection;
  }

  readonly watch = (watcher: () => void): (() => void) => {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  };

  /** Calls `listener` for every stage whose log grew; with empty ids when any log may have grown. */
  onStageLog(listener: StageLogListener): () => void {
    this.#logListeners.add(listener);
    return () => this.#logListeners.delete(listener);
  }

  /** Follows the project until the returned function is called. */
  start(): () => void {
    const owner = new AbortController();
    this.#owner = owner;
    void this.#run(owner.signal);
    return () => owner.abort();
  }

  async #run(stop: AbortSignal): Promise<void> {
    const poll = setInterval(() => {
      if (this.#connection !== "live" && !document.hidden) this.#everythingMayBeStale();
    }, POLL_MS);
    for (let tries = 0; !stop.aborted; tries += 1) {
      await visible(stop);
      if (await this.#follow(stop)) tries = 0;
      if (stop.aborted || this.#owner?.signal !== stop) break;
      this.#turn("polling");
      await pause(retryDelay(tries, Math.random()), stop);
    }
    clearInterval(poll);
  }

  /** Reads one stream to its end. Answers whether it ever spoke. */
  async #follow(stop: AbortSignal): Promise<boolean> {
    const stream = new AbortController();
    const end = () => stream.abort();
    stop.addEventListener("abort", end);
    const unwatchHidden = endWhenHidden(end);
    let silence = setTimeout(end, SILENCE_MS);
    let spoke = false;
    try {
      for await (const change of board.watch({}, { signal: stream.signal, timeoutMs: 0 })) {
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE_MS);
        if (!spoke) {
          spoke = true;
          this.#turn("live");
          // What changed while no stream was open was told to nobody.
          this.#everythingMayBeStale();
        }
        this.#take(change);
      }
    } catch (error) {
      if (isSignedOut(error)) forgetUser(this.client);
    } finally {
      clearTimeout(silence);
      unwatchHidden();
      stop.removeEventListener("abort", end);
    }
    return spoke;
  }

  #take(change: Change): void {
    if (change.kind === Kind.STAGE_LOG) {
      for (const listener of this.#logListeners) listener(change.id, change.stageId);
      return;
    }
    const keys = touched(change);
    if (keys === null) this.#everythingMayBeStale();
    else for (const each of keys) this.#stale.set(JSON.stringify(each), each);
    void this.#refresh();
  }

  #everythingMayBeStale(): void {
    this.#stale.set("*", []);
    for (const listener of this.#logListeners) listener("", "");
    void this.#refresh();
  }

  /** One round of fetching at a time, so that a flood of changes neither floods the server nor starves a fetch. */
  async #refresh(): Promise<void> {
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#stale.size > 0) {
      const keys = this.#stale.has("*") ? [[]] : [...this.#stale.values()];
      this.#stale.clear();
      for (const each of await fetchAnew(this.client, keys)) this.#stale.set(JSON.stringify(each), each);
      await pause(SPACING_MS);
    }
    this.#refreshing = false;
  }

  #turn(connection: Connection): void {
    if (this.#connection === connection) return;
    this.#connection = connection;
    for (const watcher of this.#watchers) watcher();
  }
}

/** Browsers open few connections to one host: a tab that nobody looks at gives its stream back. */
function endWhenHidden(end: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const changed = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(end, HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", changed);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", changed);
  };
}

function visible(stop: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      if (document.hidden && !stop.aborted) return;
      document.removeEventListener("visibilitychange", done);
      stop.removeEventListener("abort", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    stop.addEventListener("abort", done);
  });
}

function pause(milliseconds: number, stop?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stop?.aborted) { resolve(); return; }
    const timer = setTimeout(resolve, milliseconds);
    stop?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

export const LiveContext = createContext<Live | null>(null);

export function useLive(): Live {
  const live = useContext(LiveContext);
  if (!live) throw new Error("no Live above this component");
  return live;
}

export function useConnection(): Connection {
  const live = useLive();
  return useSyncExternalStore(live.watch, () => live.connection);
}

/** Follows the project while the calling component is on screen. */
export function useFollowing(): void {
  const live = useLive();
  useEffect(() => live.start(), [live]);
}
