// Actions on several applications at the same time, with the result of each.

import type { DescMethod } from "@bufbuild/protobuf";
import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { errorMessage, webClient } from "../../api";
import { useChange } from "../../changes";
import { deploymentLink, failureMessage, waitForResult } from "../../commands";
import { ActionButton } from "../../components/action-button";
import { useReturnFocus } from "../../components/return-focus";
import { StatusIcon } from "../../components/status";
import type { StatusDisplay } from "../../display-names";
import { type Icon, IconPlayerPause, IconPlayerPlay, IconRefresh, IconTag } from "../../icons";
import { key } from "../../queries";
import type { Application } from "../../schema/model/application_pb";
import { CommandStatus } from "../../schema/model/command_pb";
import { WebService } from "../../schema/web/service_pb";
import { useMay } from "../../use-may";
import classes from "./bulk-actions.module.css";
import { LabelsDialog } from "./labels-dialog";
import { runAll } from "./run-all";

type Verb = "Sync" | "Enable" | "Disable";

interface Result {
  status: StatusDisplay;
  detail: ReactNode;
}

/** Requests at a time: the browser and the control plane stay responsive. */
const CONCURRENCY = 6;
const WAITING: Result = { status: { text: "Waiting", tone: "quiet" }, detail: "" };
const SENT: Result = { status: { text: "Sent", tone: "busy" }, detail: "Sent to the piped. Waiting for a response…" };
const ACTIONS: Record<Verb, { Icon: Icon; method: DescMethod }> = {
  Sync: { Icon: IconRefresh, method: WebService.method.syncApplication },
  Enable: { Icon: IconPlayerPlay, method: WebService.method.enableApplication },
  Disable: { Icon: IconPlayerPause, method: WebService.method.disableApplication },
};
const VERBS = Object.keys(ACTIONS) as Verb[];
const CONSEQUENCES: Record<Verb, string> = {
  Sync: "The newest commit of each is deployed.",
  Enable: "The pipeds compare them with Git again and deploy commits made in the meantime.",
  Disable: "New commits are not deployed until they are enabled again. Running resources are not affected.",
};

interface BulkActionsProps {
  selected: Application[];
  clear: () => void;
}

export function BulkActions({ selected, clear }: BulkActionsProps) {
  const [verb, setVerb] = useState<Verb | null>(null);
  const [labelling, setLabelling] = useState(false);
  const may = useMay();
  const included = (chosen: Verb) => selected.filter((application) => may(ACTIONS[chosen].method, application));
  return (
    <>
      <Group gap="xs" className={classes.bar} role="group" aria-label="Actions on the selected applications">
        <Text size="sm" fw={600}>
          {selected.length} selected
        </Text>
        {VERBS.filter((name) => may(ACTIONS[name].method)).map((name) => {
          const { Icon: ActionIcon } = ACTIONS[name];
          return (
            <ActionButton
              key={name}
              size="compact-sm"
              variant="default"
              leftSection={<ActionIcon size={14} aria-hidden />}
              blocked={included(name).length > 0 ? "" : "Your roles include none of the selected applications."}
              onClick={() => setVerb(name)}
            >
              {name}
            </ActionButton>
          );
        })}
        <Button size="compact-sm" variant="default" leftSection={<IconTag size={14} aria-hidden />} onClick={() => setLabelling(true)}>
          Labels
        </Button>
        <Button size="compact-sm" variant="subtle" onClick={clear}>
          Clear selection
        </Button>
      </Group>
      {verb && <BulkDialog verb={verb} applications={included(verb)} selected={selected.length} close={() => setVerb(null)} />}
      {labelling && <LabelsDialog applications={selected} close={() => setLabelling(false)} />}
    </>
  );
}

interface BulkDialogProps {
  verb: Verb;
  /** The selected ones that the user's roles include. */
  applications: Application[];
  /** How many are selected. */
  selected: number;
  close: () => void;
}

function BulkDialog({ verb, applications: included, selected, close }: BulkDialogProps) {
  useReturnFocus();
  const client = useQueryClient();
  /** As selected when the dialog opened: the list behind it changes meanwhile. */
  const [applications] = useState(included);
  const [leftOut] = useState(selected - included.length);
  const [results, setResults] = useState<ReadonlyMap<string, Result> | null>(null);
  const set = (id: string, result: Result) => setResults((current) => new Map(current).set(id, result));
  const run = async ({ id }: Application) => {
    try {
      if (verb === "Sync") {
        const { commandId } = await webClient.syncApplication({ applicationId: id });
        set(id, SENT);
        const command = await waitForResult(client, commandId);
        if (command?.status !== CommandStatus.COMMAND_SUCCEEDED) {
          set(id, failed(command ? failureMessage(command) : "The piped did not respond."));
          return;
        }
        set(id, succeeded(deploymentLink(command)));
      } else if (verb === "Enable") {
        await webClient.enableApplication({ applicationId: id });
        set(id, succeeded("Enabled"));
      } else {
        await webClient.disableApplication({ applicationId: id });
        set(id, succeeded("Disabled"));
      }
    } catch (error) {
      set(id, failed(errorMessage(error)));
    }
  };
  const all = useChange(() => runAll(applications, CONCURRENCY, run), [key.applications]);
  const start = () => {
    setResults(new Map(applications.map(({ id }) => [id, WAITING])));
    all.mutate();
  };
  const count = applications.length === 1 ? "1 application" : `${applications.length} applications`;
  return (
    <Modal opened onClose={close} title={`${verb} ${count}?`} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
      <Stack gap="md">
        <Text size="sm">
          {CONSEQUENCES[verb]}
          {leftOut > 0 &&
            ` ${leftOut} of the ${leftOut + applications.length} selected ${leftOut === 1 ? "is" : "are"} left out, which your roles do not include.`}
        </Text>
        <ul role="list" className={classes.results} aria-label="Results" aria-live="polite">
          {applications.map(({ id, name }) => {
            const result = results?.get(id);
            return (
              <li key={id}>
                {result ? <StatusIcon status={result.status} size={16} /> : <span className={classes.dot} aria-hidden />}
                <span className={classes.name}>{name}</span>
                <span className="faint">{result?.detail}</span>
              </li>
            );
          })}
        </ul>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {results ? "Close" : "Cancel"}
          </Button>
          {(!results || all.isPending) && (
            <Button loading={all.isPending} onClick={start} data-autofocus>
              {verb} {count}
            </Button>
          )}
        </Group>
      </Stack>
    </Modal>
  );
}

const succeeded = (detail: ReactNode): Result => ({ status: { text: "Succeeded", tone: "good" }, detail });
const failed = (detail: ReactNode): Result => ({ status: { text: "Failed", tone: "bad" }, detail });
