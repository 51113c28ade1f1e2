// Sends commands to a piped. The control plane accepts a command at once; the piped handles it later.
// A notification, visible on every page, follows each command until it is handled.

import { notifications } from "@mantine/notifications";
import { type QueryClient, QueryObserver, useMutation, useQueryClient } from "@tanstack/react-query";
import { createElement, type ReactNode, useCallback } from "react";

import { errorMessage, webClient } from "./api";
import { commandQuery } from "./queries";
import { type Command, CommandStatus } from "./schema/model/command_pb";
import type { SyncStrategy } from "./schema/model/strategy_pb";

const POLL_INTERVAL_MS = 3_000;
/** After this time the notification says that the piped has not responded. */
const SLOW_RESPONSE_MS = 20_000;
const RESPONSE_TIMEOUT_MINUTES = 15;
/** Long enough to read the message, and to follow its link, on a busy machine and by keyboard. */
const SUCCESS_NOTIFICATION_MS = 30_000;

interface CommandRequest {
  /** Sends the command and returns its ID. */
  send: () => Promise<{ commandId: string }>;
  /** Title of the notification: "Sync checkout". */
  title: string;
  /** Content of the notification after the piped has handled the command. */
  successMessage: (command: Command) => ReactNode;
}

/**
 * Returns a function that sends a command and resolves once the control plane has accepted it. If that fails, the caller
 * shows the error.
 */
export function useSendCommand(): (request: CommandRequest) => Promise<void> {
  const client = useQueryClient();
  return useCallback(
    async ({ send, title, successMessage }: CommandRequest) => {
      const { commandId } = await send();
      const notification = { id: commandId, title };
      const message = "Sent to the piped. Waiting for a response…";
      notifications.show({ ...notification, message, loading: true, autoClose: false });
      const slowResponse = setTimeout(() => {
        const message = "The piped has not responded yet. Check on the Pipeds page that it is online.";
        notifications.update({ ...notification, message, loading: true, autoClose: false });
      }, SLOW_RESPONSE_MS);
      void waitForResult(client, commandId).then((command) => {
        clearTimeout(slowResponse);
        notifications.update({ ...notification, ...resultNotification(command, successMessage), loading: false });
      });
    },
    [client],
  );
}

/**
 * A mutation that sends the command that `request` returns. It is pending until the control plane has accepted it; a
 * notification shows the error if it does not.
 */
export function useCommand<Value = void>(request: (value: Value) => CommandRequest, onSuccess?: () => void) {
  const sendCommand = useSendCommand();
  return useMutation({
    mutationFn: (value: Value) => sendCommand(request(value)),
    onSuccess,
    onError: (error, value) => {
      notifications.show({ title: request(value).title, message: errorMessage(error), color: "red", autoClose: false });
    },
  });
}

/** Deploys the head commit of an application with a strategy. `name` says what is done, such as "Quick sync". */
export function useSync(applicationId: string, name: (strategy: SyncStrategy) => string) {
  return useCommand((syncStrategy: SyncStrategy) => ({
    send: () => webClient.syncApplication({ applicationId, syncStrategy }),
    title: name(syncStrategy),
    successMessage: deploymentLink,
  }));
}

function resultNotification(command: Command | null, successMessage: CommandRequest["successMessage"]) {
  switch (command?.status) {
    case CommandStatus.COMMAND_SUCCEEDED:
      return { message: successMessage(command), color: "green", autoClose: SUCCESS_NOTIFICATION_MS };
    case CommandStatus.COMMAND_FAILED:
      return { message: failureMessage(command), color: "red", autoClose: false as const };
    default: {
      const message = `The piped did not respond within ${RESPONSE_TIMEOUT_MINUTES} minutes. Nothing was changed.`;
      return { message, color: "orange", autoClose: false as const };
    }
  }
}

export function failureMessage(command: Command): string {
  const reason = command.metadata["reason"] ?? command.metadata["error"];
  return reason ? `The piped rejected the command: ${reason}` : "The command failed. See the piped's log for details.";
}

/** Resolves to the command once it is handled, or to null after RESPONSE_TIMEOUT_MINUTES. */
export function waitForResult(client: QueryClient, commandId: string): Promise<Command | null> {
  return new Promise((resolve) => {
    const observer = new QueryObserver(client, { ...commandQuery(commandId), refetchInterval: POLL_INTERVAL_MS });
    const finish = (command: Command | null) => {
      clearTimeout(timeout);
      unsubscribe();
      resolve(command);
    };
    const timeout = setTimeout(() => finish(null), RESPONSE_TIMEOUT_MINUTES * 60_000);
    const unsubscribe = observer.subscribe(({ data }) => {
      if (data && data.status !== CommandStatus.COMMAND_NOT_HANDLED_YET) finish(data);
    });
  });
}

/** A link to the deployment that a sync command triggered. */
export function deploymentLink(command: Command): ReactNode {
  const id = command.metadata["TriggeredDeploymentID"];
  if (!id) return "The piped accepted the command.";
  return createElement("a", { href: `/deployments/${id}` }, "View deployment");
}
