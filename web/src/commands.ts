// Asking an agent for something: the control plane takes note at once, the agent answers in its own
// time. Each question is followed until it is answered, in a notice that any page shows.

import { notifications } from "@mantine/notifications";
import { type QueryClient, QueryObserver, useQueryClient } from "@tanstack/react-query";
import { createElement, type ReactNode, useCallback } from "react";

import { sentence } from "./api";
import { commandQuery } from "./queries";
import { type Command, CommandStatus } from "./schema/model/command_pb";

const LOOK_AGAIN_MS = 3_000;
const SLOW_MS = 20_000;
const GIVE_UP_MS = 15 * 60_000;
/** Long enough to read it, and to follow its link, on a busy machine and by keyboard. */
const DONE_SHOWN_MS = 30_000;

interface Question {
  /** Sends it; the answer names the command. */
  send: () => Promise<{ commandId: string }>;
  /** What is asked, as a title: "Sync checkout". */
  title: string;
  /** What is shown once the agent has done it. */
  done: (command: Command) => ReactNode;
}

/** Sends a question, and returns once the control plane has taken it; the notice goes on by itself. */
export function useAsk(): (question: Question) => Promise<void> {
  const client = useQueryClient();
  return useCallback(
    async ({ send, title, done }: Question) => {
      let commandId: string;
      try {
        ({ commandId } = await send());
      } catch (error) {
        notifications.show({ title, message: sentence(error), color: "red", autoClose: false });
        throw error;
      }
      const notice = { id: commandId, title };
      notifications.show({ ...notice, message: "Sent to the piped…", loading: true, autoClose: false });
      const slow = setTimeout(() => {
        const message = "The piped has not answered yet. Is it online? See the page Pipeds.";
        notifications.update({ ...notice, message, loading: true, autoClose: false });
      }, SLOW_MS);
      void answer(client, commandId).then((command) => {
        clearTimeout(slow);
        notifications.update({ ...notice, ...outcome(command, done), loading: false });
      });
    },
    [client],
  );
}

function outcome(command: Command | null, done: Question["done"]) {
  switch (command?.status) {
    case CommandStatus.COMMAND_SUCCEEDED:
      return { message: done(command), color: "green", autoClose: DONE_SHOWN_MS };
    case CommandStatus.COMMAND_FAILED:
      return { message: failure(command), color: "red", autoClose: false as const };
    default:
      return { message: "The piped never answered. Nothing was done.", color: "orange", autoClose: false as const };
  }
}

function failure(command: Command): string {
  const told = command.metadata["reason"] ?? command.metadata["error"];
  return told ? `The piped refused: ${told}` : "The piped could not do it. Its log tells why.";
}

/** The command once it is handled; null when that takes too long. */
function answer(client: QueryClient, commandId: string): Promise<Command | null> {
  return new Promise((resolve) => {
    const observer = new QueryObserver(client, { ...commandQuery(commandId), refetchInterval: LOOK_AGAIN_MS });
    const finish = (command: Command | null) => {
      clearTimeout(limit);
      stop();
      resolve(command);
    };
    const limit = setTimeout(() => finish(null), GIVE_UP_MS);
    const stop = observer.subscribe(({ data }) => {
      if (data && data.status !== CommandStatus.COMMAND_NOT_HANDLED_YET) finish(data);
    });
  });
}

/** The deployment that a sync brought about, as a link. */
export function triggeredDeployment(command: Command): ReactNode {
  const id = command.metadata["TriggeredDeploymentID"];
  if (!id) return "The piped has taken it.";
  return createElement("a", { href: `/deployments/${id}` }, "See the deployment");
}
