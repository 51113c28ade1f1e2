// The two services the console calls, over the Connect protocol, and what their errors mean to people.

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

export const web = createClient(WebService, transport);
export const board = createClient(ConsoleService, transport);

export function isSignedOut(error: unknown): boolean {
  return ConnectError.from(error).code === Code.Unauthenticated;
}

export function isMissing(error: unknown): boolean {
  return ConnectError.from(error).code === Code.NotFound;
}

const PASSING: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Unknown,
  Code.Aborted,
  Code.ResourceExhausted,
]);

/** Whether asking again may help: the network or the control plane was away. */
export function mayPass(error: unknown): boolean {
  return PASSING.has(ConnectError.from(error).code);
}

/** One sentence for people: what went wrong and, where we know it, what to do. */
export function sentence(error: unknown): string {
  const told = ConnectError.from(error);
  switch (told.code) {
    case Code.PermissionDenied:
      return told.rawMessage || "Your role does not allow this. Ask an administrator of the project.";
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Unknown:
      return "The control plane cannot be reached. This page goes on trying.";
    case Code.Internal:
      return "The control plane failed to answer. Its log tells why.";
    default:
      return told.rawMessage || "The control plane refused this without a reason.";
  }
}
