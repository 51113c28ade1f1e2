// Connect clients for the two services the console calls, and the translation of their errors into messages.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { ConsoleService } from "./schema/pipecd/v1/console_pb";
import { WebService } from "./schema/web/service_pb";

const CALL_TIMEOUT_MS = 20_000;

const transport = createConnectTransport({
  baseUrl: "/api",
  useBinaryFormat: true,
  defaultTimeoutMs: CALL_TIMEOUT_MS,
});

export const webClient = createClient(WebService, transport);
export const consoleClient = createClient(ConsoleService, transport);

export function isUnauthenticated(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Unauthenticated;
}

export function isNotFound(error: unknown): boolean {
  return ConnectError.from(error).code === Code.NotFound;
}

const RETRYABLE_CODES: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Unknown,
  Code.Aborted,
  Code.ResourceExhausted,
]);

/** Whether a retry may succeed: the network or the control plane was unavailable. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE_CODES.has(ConnectError.from(error).code);
}

/** A message for the user: what failed and, where known, how to fix it. */
export function errorMessage(error: unknown): string {
  const connectError = ConnectError.from(error);
  switch (connectError.code) {
    case Code.PermissionDenied:
      return connectError.rawMessage || "Your role does not allow this. Ask a project administrator.";
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Unknown:
      return "The control plane is unreachable. This page keeps retrying.";
    case Code.Internal:
      return "The control plane returned an internal error. See its log for details.";
    default:
      return connectError.rawMessage || "The control plane rejected the request without giving a reason.";
  }
}
