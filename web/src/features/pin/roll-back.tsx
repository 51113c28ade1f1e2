// Rolls an application back to an earlier deployment and pins it there.

import { Alert, Button, Group, Modal, Select, Stack, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { consoleClient } from "../../api";
import { deploymentLink, useCommand } from "../../commands";
import { ActionButton, IconAction } from "../../components/action-button";
import { CommitLine } from "../../components/commit";
import { DetailList } from "../../components/detail-list";
import { useReturnFocus } from "../../components/return-focus";
import { RelativeTime } from "../../components/time";
import { versionLines } from "../../components/version-line";
import { WebLink } from "../../components/web-link";
import { compareUrl } from "../../failure";
import { tooLong } from "../../field-errors";
import { IconRestore } from "../../icons";
import { applicationQuery, pipedsQuery } from "../../queries";
import type { Deployment } from "../../schema/model/deployment_pb";
import { DeploymentStatus } from "../../schema/model/deployment_pb";
import { SyncStrategy } from "../../schema/model/strategy_pb";
import { ConsoleService } from "../../schema/pipecd/v1/console_pb";
import { useMay } from "../../use-may";
import { canRollBack, PIN_LIFETIMES } from "./pin";

const STRATEGIES = [
  { value: String(SyncStrategy.AUTO), label: "As for a commit", meaning: "The planner selects quick sync or the pipeline." },
  { value: String(SyncStrategy.QUICK_SYNC), label: "Quick sync", meaning: "All changes at once, without stages." },
  { value: String(SyncStrategy.PIPELINE), label: "Pipeline", meaning: "Every stage." },
];
const MAX_REASON = 1000;

interface RollBackProps {
  deployment: Deployment;
  /** An icon, for lists. */
  compact?: boolean;
}

/** Nothing for a deployment that did not succeed, or whose application was deleted or is not included in the roles. */
export function RollBackButton({ deployment, compact = false }: RollBackProps) {
  const [opened, setOpened] = useState(false);
  const may = useMay();
  const offered = deployment.status === DeploymentStatus.DEPLOYMENT_SUCCESS && may(ConsoleService.method.rollBackTo);
  const application = useQuery({ ...applicationQuery(deployment.applicationId), enabled: offered }).data?.record;
  if (!offered || !application || application.deleted) return null;
  if (!may(ConsoleService.method.rollBackTo, application)) return null;
  const blocked = application.disabled ? "The application is disabled: enable it to roll it back." : "";
  const commit = deployment.trigger?.commit?.hash.slice(0, 7) ?? "";
  const open = () => setOpened(true);
  return (
    <>
      {compact ? (
        <IconAction label={`Roll back to ${commit}`} blocked={blocked} onClick={open}>
          <IconRestore size={17} aria-hidden />
        </IconAction>
      ) : (
        <ActionButton
          variant="default"
          leftSection={<IconRestore size={16} aria-hidden />}
          blocked={blocked}
          onClick={open}
        >
          Roll back to this
        </ActionButton>
      )}
      {opened && <RollBackDialog deployment={deployment} close={() => setOpened(false)} />}
    </>
  );
}

function RollBackDialog({ deployment, close }: { deployment: Deployment; close: () => void }) {
  useReturnFocus();
  const [reason, setReason] = useState("");
  const [lifetime, setLifetime] = useState("0");
  const [strategy, setStrategy] = useState(String(SyncStrategy.AUTO));
  const application = useQuery(applicationQuery(deployment.applicationId)).data?.record;
  const pipeds = useQuery(pipedsQuery).data;
  const piped = pipeds?.find((candidate) => candidate.id === application?.pipedId);
  const supported = canRollBack(piped);
  const commit = deployment.trigger?.commit;
  const running = application?.mostRecentlySuccessfulDeployment?.trigger?.commit;
  const rollBack = useCommand(
    () => ({
      send: () => {
        const seconds = Number(lifetime);
        return consoleClient.rollBackTo({
          deploymentId: deployment.id,
          reason,
          until: seconds > 0 ? BigInt(Math.floor(Date.now() / 1000) + seconds) : 0n,
          syncStrategy: Number(strategy),
        });
      },
      title: `Rollback of ${deployment.applicationName}`,
      successMessage: deploymentLink,
    }),
    close,
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    rollBack.mutate();
  };
  const comparison = compareUrl(commit?.url ?? "", commit?.hash ?? "", running?.hash ?? "");
  return (
    <Modal
      opened
      onClose={close}
      size="lg"
      title={`Roll ${deployment.applicationName} back to ${commit?.hash.slice(0, 7) ?? ""}?`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack gap="md">
          <DetailList
            items={[
              ["Deploys", commit && <CommitLine key="commit" commit={commit} />],
              ["Versions", versionLines(deployment.versions)],
              ["First deployed", <RelativeTime key="at" at={deployment.completedAt} />],
              ["Instead of", running && running.hash !== commit?.hash && <CommitLine key="running" commit={running} />],
              ["Undoes", comparison && <WebLink key="undoes" url={comparison}>Compare the commits</WebLink>],
            ]}
          />
          {!supported && (
            <Alert color="orange" role="alert" title="The piped cannot deploy an earlier commit">
              {piped?.name} is PipeCD&apos;s piped, which deploys only the newest commit. Revert the commit in Git, or run
              this project&apos;s piped.
            </Alert>
          )}
          <Textarea
            label="Reason"
            description="Shown on the application's page while it is pinned, and in the audit log."
            error={tooLong(reason, MAX_REASON)}
            autosize
            minRows={2}
            maxRows={6}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value)}
            data-autofocus
          />
          <Select
            label="Keep this commit"
            description="Until then, neither commits nor drift trigger a deployment."
            allowDeselect={false}
            data={PIN_LIFETIMES.map(({ label, seconds }) => ({ value: String(seconds), label }))}
            value={lifetime}
            onChange={(value) => setLifetime(value ?? "0")}
          />
          <Select
            label="How"
            description={STRATEGIES.find(({ value }) => value === strategy)?.meaning}
            allowDeselect={false}
            data={STRATEGIES}
            value={strategy}
            onChange={(value) => setStrategy(value ?? STRATEGIES[0]?.value ?? "")}
          />
          <Text size="sm" className="faint">
            Data that the newer version wrote is not restored.
          </Text>
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" disabled={!supported || reason.length > MAX_REASON} loading={rollBack.isPending}>
              Roll back
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
