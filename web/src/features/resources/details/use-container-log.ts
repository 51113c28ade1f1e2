// Follows the log of a container while it is shown. The stream is opened again when it breaks off, for example
// because the agent restarts, and when it ends, because the container may be started again.

import { useEffect, useReducer } from "react";

import { consoleClient, errorMessage } from "../../../api";
import { sleep } from "../../../live";
import { appendLines, type ContainerLogLine, isFinal, lastTime } from "./container-log";

export interface ContainerLog {
  lines: readonly ContainerLogLine[];
  status: "connecting" | "following" | "ended" | "interrupted" | "failed";
  /** Set if the log was interrupted or failed. */
  error: string;
}

type Action =
  | { kind: "reset" }
  | { kind: "received"; lines: readonly ContainerLogLine[] }
  | { kind: "ended" }
  | { kind: "interrupted" | "failed"; error: string };

const INITIAL: ContainerLog = { lines: [], status: "connecting", error: "" };
const TAIL_LINES = 1000;
const RETRY_DELAYS_MS = [500, 1_000, 2_000, 5_000, 10_000, 30_000];
/** A stream without a message for this long is closed and opened again. */
const IDLE_TIMEOUT_MS = 40_000;

function reduce(log: ContainerLog, action: Action): ContainerLog {
  switch (action.kind) {
    case "reset":
      return INITIAL;
    case "received":
      return { lines: appendLines(log.lines, action.lines), status: "following", error: "" };
    case "ended":
      return { ...log, status: "ended", error: "" };
    default:
      return { ...log, status: action.kind, error: action.error };
  }
}

export function useContainerLog(
  applicationId: string,
  resourceId: string,
  container: string,
  previous: boolean,
): ContainerLog {
  const [log, dispatch] = useReducer(reduce, INITIAL);
  useEffect(() => {
    const closed = new AbortController();
    dispatch({ kind: "reset" });
    void (async () => {
      let since = "";
      for (let attempt = 0; !closed.signal.aborted; attempt += 1) {
        const stream = new AbortController();
        const close = () => stream.abort();
        closed.signal.addEventListener("abort", close);
        let idleTimeout = setTimeout(close, IDLE_TIMEOUT_MS);
        try {
          const options = { container, previous, since, tailLines: since ? 5000 : TAIL_LINES };
          const parts = consoleClient.followContainerLog(
            { applicationId, resourceId, options },
            { signal: stream.signal, timeoutMs: 0 },
          );
          for await (const { lines } of parts) {
            clearTimeout(idleTimeout);
            idleTimeout = setTimeout(close, IDLE_TIMEOUT_MS);
            if (closed.signal.aborted) return;
            if (lines.length > 0) attempt = 0;
            since = lastTime(lines) || since;
            dispatch({ kind: "received", lines });
          }
          dispatch({ kind: "ended" });
          if (previous) return;
        } catch (error) {
          if (closed.signal.aborted) return;
          dispatch({ kind: isFinal(error) ? "failed" : "interrupted", error: errorMessage(error) });
          if (isFinal(error)) return;
        } finally {
          clearTimeout(idleTimeout);
          closed.signal.removeEventListener("abort", close);
        }
        await sleep(RETRY_DELAYS_MS[Math.min(attempt, RETRY_DELAYS_MS.length - 1)] ?? 0, closed.signal);
      }
    })();
    return () => closed.abort();
  }, [applicationId, resourceId, container, previous]);
  return log;
}
