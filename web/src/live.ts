// Keeps every page up to date without a reload. One Watch stream per tab reports changes; the affected
// queries on screen are refetched. While the stream is down, all queries on screen are polled; if none of them is
// answered, the connection is lost and what is on screen is out of date.

import type { CallOptions } from "@connectrpc/connect";
import type { QueryClient, QueryKey } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useSyncExternalStore } from "react";

import { consoleClient, isUnauthenticated } from "./api";
import { clearUser, key } from "./queries";
import { type ConsoleChange, ConsoleChange_Kind as Kind } from "./schema/pipecd/v1/console_pb";

export type Connection = "connecting" | "live" | "polling" | "lost";

type Change = Pick<ConsoleChange, "kind" | "id" | "stageId">;
type StageLogListener = (deploymentId: string, stageId: string) => void;

const POLL_INTERVAL_MS = 5_000;
/** A first stream without a message for this long does not delay the page any longer. */
const CONNECT_TIMEOUT_MS = 1_000;
/**
 * Pause between two rounds of refetching: it doubles while changes keep arriving, as of a project that always deploys,
 * and is the initial one again when none arrived for the longest one.
 */
const REFETCH_PAUSE_MS = { initial: 250, max: 1_000 };
/** A slower query does not delay the next round any longer. */
const REFETCH_TIMEOUT_MS = 5_000;
/** A stream without a message for this long is closed and reopened. */
const STREAM_IDLE_TIMEOUT_MS = 40_000;
const HIDDEN_TAB_TIMEOUT_MS = 60_000;
const RETRY_DELAY_MS = { initial: 500, max: 15_000 };

/** The queries that a change makes stale; null means all of them. */
export function affectedQueries(change: Change): readonly QueryKey[] | null {
  switch (change.kind) {
    case Kind.APPLICATION:
      return [key.applications, key.application(change.id)];
    case Kind.DEPLOYMENT:
      return [key.deployments, key.deployment(change.id), key.traces];
    case Kind.DEPLOYMENT_CHAIN:
      return [key.chains];
    case Kind.COMMAND:
      return [key.command(change.id)];
    case Kind.PIPED:
      return [key.pipeds];
    case Kind.EVENT:
      return [key.events];
    case Kind.API_KEY:
      return [key.apiKeys];
    case Kind.SUGGESTIONS:
      return [key.suggestions];
    case Kind.PROJECT:
      return [key.me, key.rights, key.project];
    case Kind.LIVE_STATE:
      return [key.liveState(change.id), key.resources(change.id)];
    case Kind.RESYNC:
      return null;
    default:
      return [];
  }
}

/** Whether queries are on screen and the last fetch of each failed, or waits for the network. */
export function isCutOff(client: QueryClient): boolean {
  const active = client.getQueryCache().findAll({ type: "active" });
  return (
    active.length > 0 &&
    active.every(({ state }) => state.fetchStatus === "paused" || state.fetchFailureCount > 0 || state.status === "error")
  );
}

/** When the data on screen was last received, in milliseconds since 1970; 0 if there is none. */
export function lastReceivedAt(client: QueryClient): number {
  const active = client.getQueryCache().findAll({ type: "active" });
  return Math.max(0, ...active.map(({ state }) => state.dataUpdatedAt));
}

/** Delay before retry number `attempt` (from 0), in milliseconds: exponential with full jitter. */
export function retryDelay(attempt: number, random: number): number {
  const bound = Math.min(RETRY_DELAY_MS.max, RETRY_DELAY_MS.initial * 2 ** attempt);
  return RETRY_DELAY_MS.initial / 2 + random * bound;
}

/**
 * Refetches the queries on screen that match `keys`. Returns the queries that need another refetch: a query
 * without data joins its first fetch if one is in progress, whose response may predate the change.
 */
export async function refetchQueries(client: QueryClient, keys: readonly QueryKey[]): Promise<QueryKey[]> {
  const fetching = keys.flatMap((queryKey) => client.getQueryCache().findAll({ queryKey, fetchStatus: "fetching" }));
  const firstFetches = fetching.filter((query) => query.state.data === undefined).map((query) => query.queryKey);
  const refetches = keys.map((queryKey) => client.invalidateQueries({ queryKey }));
  await Promise.race([Promise.allSettled(refetches), sleep(REFETCH_TIMEOUT_MS)]);
  return firstFetches;
}

export class LiveUpdates {
  #connection: Connection = "connecting";
  #connectionListeners = new Set<() => void>();
  #stageLogListeners = new Set<StageLogListener>();
  #stale = new Map<string, QueryKey>();
  #refetching = false;
  #pause = REFETCH_PAUSE_MS.initial;
  #refetchedAt = 0;
  #controller: AbortController | null = null;
  #staysConnected = false;
  /** Ends the pause before the next attempt to open the stream. */
  #endPause: () => void = () => undefined;

  constructor(
    private readonly client: QueryClient,
    private readonly watch: (options: CallOptions) => AsyncIterable<Change> = (options) => consoleClient.watch({}, options),
  ) {}

  get connection(): Connection {
    return this.#connection;
  }

  readonly onConnectionChange = (listener: () => void): (() => void) => {
    this.#connectionListeners.add(listener);
    return () => this.#connectionListeners.delete(listener);
  };

  /** Calls `listener` for every stage whose log grew; with empty IDs if any log may have grown. */
  onStageLog(listener: StageLogListener): () => void {
    this.#stageLogListeners.add(listener);
    return () => this.#stageLogListeners.delete(listener);
  }

  /** Whether the stream stays open while the tab is hidden: not by default, as browsers limit connections to one host. */
  stayConnected(value: boolean): void {
    this.#staysConnected = value;
  }

  /** Follows the project's changes until the returned function is called. */
  start(): () => void {
    const controller = new AbortController();
    this.#controller = controller;
    void this.#run(controller.signal);
    return () => {
      controller.abort();
      this.#setConnection("connecting");
    };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const poll = setInterval(() => {
      if (this.#connection !== "live" && !document.hidden) this.invalidateAll();
    }, POLL_INTERVAL_MS);
    const connecting = setTimeout(() => {
      if (this.#connection === "connecting") this.#setConnection("polling");
    }, CONNECT_TIMEOUT_MS);
    // Also while a stream does not end at once.
    signal.addEventListener("abort", () => {
      clearInterval(poll);
      clearTimeout(connecting);
    });
    const onOnline = () => this.#endPause();
    window.addEventListener("online", onOnline);
    let connectedBefore = false;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      if (!this.#staysConnected) await waitUntilVisible(signal);
      if (await this.#readStream(signal, connectedBefore)) {
        connectedBefore = true;
        attempt = 0;
      }
      if (signal.aborted || this.#controller?.signal !== signal) break;
      if (this.#connection !== "lost") this.#setConnection("polling");
      await this.#pauseBeforeRetry(attempt, signal);
    }
    window.removeEventListener("online", onOnline);
  }

  /** The pause ends when there is a sign that the control plane answers again. */
  async #pauseBeforeRetry(attempt: number, signal: AbortSignal): Promise<void> {
    const pause = new AbortController();
    this.#endPause = () => pause.abort();
    await sleep(retryDelay(attempt, Math.random()), AbortSignal.any([signal, pause.signal]));
  }

  /** Reads one stream to its end. Returns whether it delivered any message. */
  async #readStream(signal: AbortSignal, connectedBefore: boolean): Promise<boolean> {
    const stream = new AbortController();
    const close = () => stream.abort();
    signal.addEventListener("abort", close);
    const stopWatchingVisibility = closeWhenHidden(() => {
      if (!this.#staysConnected) close();
    });
    // An open stream does not notice by itself that the network is gone.
    window.addEventListener("offline", close);
    let idleTimeout = setTimeout(close, STREAM_IDLE_TIMEOUT_MS);
    let connected = false;
    try {
      for await (const change of this.watch({ signal: stream.signal, timeoutMs: 0 })) {
        clearTimeout(idleTimeout);
        idleTimeout = setTimeout(close, STREAM_IDLE_TIMEOUT_MS);
        if (!connected) {
          connected = true;
          // Changes made while no stream was open were not reported.
          if (connectedBefore) this.invalidateAll();
          else this.#invalidateLoaded();
          this.#setConnection("live");
        }
        this.#handleChange(change);
      }
    } catch (error) {
      if (isUnauthenticated(error)) clearUser(this.client);
    } finally {
      clearTimeout(idleTimeout);
      stopWatchingVisibility();
      window.removeEventListener("offline", close);
      signal.removeEventListener("abort", close);
    }
    return connected;
  }

  #handleChange(change: Change): void {
    if (change.kind === Kind.STAGE_LOG) {
      for (const listener of this.#stageLogListeners) listener(change.id, change.stageId);
      return;
    }
    const keys = affectedQueries(change);
    if (keys === null) this.invalidateAll();
    else for (const queryKey of keys) this.#stale.set(JSON.stringify(queryKey), queryKey);
    void this.#refetchStale();
  }

  /** Refetches the queries on screen, as if everything had changed. */
  invalidateAll(): void {
    this.#stale.set("*", []);
    for (const listener of this.#stageLogListeners) listener("", "");
    void this.#refetchStale();
  }

  /**
   * Refetches what was requested before the first stream was open, and nothing that is requested from now on. The user
   * was requested before, always: it does not change while the session lasts, and with the session the stream ends. So were
   * the rights, just before: if they changed at this moment, they are read again after a minute, and each call is checked.
   */
  #invalidateLoaded(): void {
    for (const { queryKey, queryHash } of this.client.getQueryCache().getAll()) {
      if (queryKey[0] !== key.me[0] && queryKey[0] !== key.rights[0]) this.#stale.set(queryHash, queryKey);
    }
    for (const listener of this.#stageLogListeners) listener("", "");
    void this.#refetchStale();
  }

  /** Runs one round of refetching at a time, so that many changes neither overload the server nor starve a fetch. */
  async #refetchStale(): Promise<void> {
    if (this.#refetching) return;
    this.#refetching = true;
    if (Date.now() - this.#refetchedAt > REFETCH_PAUSE_MS.max) this.#pause = REFETCH_PAUSE_MS.initial;
    while (this.#stale.size > 0) {
      const keys = this.#stale.has("*") ? [[]] : [...this.#stale.values()];
      this.#stale.clear();
      const remaining = await refetchQueries(this.client, keys);
      if (this.#connection === "polling" || this.#connection === "lost") {
        const wasLost = this.#connection === "lost";
        this.#setConnection(isCutOff(this.client) ? "lost" : "polling");
        if (wasLost && !isCutOff(this.client)) this.#endPause();
      }
      for (const queryKey of remaining) this.#stale.set(JSON.stringify(queryKey), queryKey);
      await sleep(this.#pause);
      this.#pause = Math.min(2 * this.#pause, REFETCH_PAUSE_MS.max);
    }
    this.#refetchedAt = Date.now();
    this.#refetching = false;
  }

  #setConnection(connection: Connection): void {
    if (this.#connection === connection) return;
    this.#connection = connection;
    for (const listener of this.#connectionListeners) listener();
  }
}

/** Calls `close` once the tab has been hidden for a while: browsers limit the connections to one host. */
function closeWhenHidden(close: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onVisibilityChange = () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, HIDDEN_TAB_TIMEOUT_MS);
  };
  document.addEventListener("visibilitychange", onVisibilityChange);
  return () => {
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", onVisibilityChange);
  };
}

/** Also returns when `signal` is aborted. */
function waitUntilVisible(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", check);
      signal.removeEventListener("abort", check);
      resolve();
    };
    document.addEventListener("visibilitychange", check);
    signal.addEventListener("abort", check);
  });
}

/** Also returns when `signal` is aborted. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) { resolve(); return; }
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal?.addEventListener("abort", end);
  });
}

export const LiveUpdatesContext = createContext<LiveUpdates | null>(null);

export function useLiveUpdates(): LiveUpdates {
  const liveUpdates = useContext(LiveUpdatesContext);
  if (!liveUpdates) throw new Error("no LiveUpdatesContext above this component");
  return liveUpdates;
}

export function useConnection(): Connection {
  const liveUpdates = useLiveUpdates();
  return useSyncExternalStore(liveUpdates.onConnectionChange, () => liveUpdates.connection);
}

/**
 * Follows the project's changes while the calling component is mounted. Returns whether the page may request data:
 * what is requested before the stream is open has to be requested again, because it may miss a change.
 */
export function useStartLiveUpdates(): boolean {
  const liveUpdates = useLiveUpdates();
  useEffect(() => liveUpdates.start(), [liveUpdates]);
  return useConnection() !== "connecting";
}
