// Connect clients for the two services the console calls, and the translation of their errors into messages.

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { refuseForbiddenCalls } from "./rights";
import { ConsoleService } from "./schema/pipecd/v1/console_pb";
import { WebService } from "./schema/web/service_pb";
import { asSentence } from "./sentence";

const CALL_TIMEOUT_MS = 20_000;

const transport = createConnectTransport({
  baseUrl: "/api",
  useBinaryFormat: true,
  defaultTimeoutMs: CALL_TIMEOUT_MS,
  interceptors: [refuseForbiddenCalls()],
});

export const webClient = createClient(WebService, transport);
export const consoleClient = createClient(ConsoleService, transport);

export function isUnauthenticated(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Unauthenticated;
}

export function isForbidden(error: unknown): boolean {
  return ConnectError.from(error).code === Code.PermissionDenied;
}

/** Whether the control plane rejects what was asked for, such as a filter or a page of a list that does not exist. */
export function isInvalid(error: unknown): boolean {
  return ConnectError.from(error).code === Code.InvalidArgument;
}

/** Why a record is not shown. */
export interface Refusal {
  reason: "unknown" | "invalid" | "forbidden";
  /** In the control plane's words. */
  message: string;
}

const REFUSALS: ReadonlyMap<Code, Refusal["reason"]> = new Map([
  [Code.NotFound, "unknown"],
  [Code.InvalidArgument, "invalid"],
  [Code.PermissionDenied, "forbidden"],
]);

/** Null for errors that say nothing about the record, such as that the control plane does not answer. */
export function refusalOf(error: unknown): Refusal | null {
  const reason = REFUSALS.get(ConnectError.from(error).code);
  return reason ? { reason, message: errorMessage(error) } : null;
}

const NO_ANSWER = "The control plane does not answer.";

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

/** A response of a proxy, instead of the control plane's. */
const HTTP_STATUS = /^HTTP \d+$/;

/** A message for the user: what failed and, where known, how to fix it. */
export function errorMessage(error: unknown): string {
  const { code, rawMessage } = ConnectError.from(error);
  switch (code) {
    case Code.PermissionDenied:
      return rawMessage ? asSentence(rawMessage) : "Your roles do not allow this. Ask an administrator of the project.";
    case Code.Unavailable:
      // Of the control plane or a piped, such as "piped home is not connected".
      return rawMessage && !HTTP_STATUS.test(rawMessage) ? asSentence(rawMessage) : NO_ANSWER;
    case Code.DeadlineExceeded:
    case Code.Unknown:
      return NO_ANSWER;
    case Code.Internal:
      return "The control plane returned an internal error. See its log for details.";
    default:
      return rawMessage ? asSentence(rawMessage) : "The control plane rejected the request without giving a reason.";
  }
}
