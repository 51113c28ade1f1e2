// What an approval decides about, beside its buttons: the changes of the plan, the versions, and the commits.

import { Group, Skeleton, Stack, Text, Textarea } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { lazy, type ReactNode, Suspense, useState } from "react";

import { consoleClient, webClient } from "../api";
import { useSendCommand } from "../commands";
import { isDeploymentCompleted, type StatusDisplay } from "../display-names";
import { compareUrl } from "../failure";
import { tooLong } from "../field-errors";
import { IconCheck, IconX } from "../icons";
import { applicationQuery, meQuery } from "../queries";
import type { ApplicationDeploymentReference } from "../schema/model/application_pb";
import type { Deployment } from "../schema/model/deployment_pb";
import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { ConsoleService } from "../schema/pipecd/v1/console_pb";
import { WebService } from "../schema/web/service_pb";
import { approvers, type Decision, decisions, planStageBefore } from "../stages";
import { useStageLog } from "../features/log/use-stage-logs";
import { useMay } from "../use-may";
import { ActionButton } from "./action-button";
import { CommitLine } from "./commit";
import { ConfirmDialog, useDialog } from "./confirm-dialog";
import { DetailList } from "./detail-list";
import { StatusIcon } from "./status";
import { RelativeTime } from "./time";
import { versionLines } from "./version-line";
import { WebLink } from "./web-link";

const PlanInLog = lazy(async () => ({ default: (await import("../features/drift/plan-text")).PlanInLog }));

interface ApprovalProps {
  deployment: Deployment;
  stage: PipelineStage;
}

export function ApprovalPanel({ deployment, stage }: ApprovalProps) {
  const plan = planStageBefore(deployment.stages, stage);
  const application = useQuery(applicationQuery(deployment.applicationId));
  // The buttons come with what is above them: they would move under the pointer.
  if (application.isPending) return <Loading />;
  return (
    <Stack gap="sm" px="md" pb="md" role="group" aria-label="Approval">
      <Change deployment={deployment} running={application.data?.record?.mostRecentlySuccessfulDeployment} />
      {plan ? (
        <Plan deployment={deployment} stage={plan}>
          <Buttons deployment={deployment} stage={stage} />
        </Plan>
      ) : (
        <Buttons deployment={deployment} stage={stage} />
      )}
    </Stack>
  );
}

interface ChangeProps {
  deployment: Deployment;
  running: ApplicationDeploymentReference | undefined;
}

/** What is deployed, and instead of what. */
function Change({ deployment, running }: ChangeProps) {
  const commit = deployment.trigger?.commit;
  const comparison = compareUrl(commit?.url ?? "", deployment.runningCommitHash, commit?.hash ?? "");
  return (
    <DetailList
      items={[
        ["New commit", commit && <CommitLine key="commit" commit={commit} />],
        ["New versions", versionLines(deployment.versions)],
        ["Running versions", running && versionLines(running.versions)],
        ["Changes", comparison && <WebLink key="changes" url={comparison}>Compare the commits</WebLink>],
      ]}
    />
  );
}

const Loading = () => <Skeleton height={120} role="status" aria-label="Loading the change" />;

/** The plan as the stage before printed it, and what decides about it. */
function Plan({ deployment, stage, children }: ApprovalProps & { children: ReactNode }) {
  const { log, loaded } = useStageLog(deployment, stage);
  if (!loaded && log.lines.length === 0) return <Loading />;
  return (
    <Suspense fallback={<Loading />}>
      <div style={{ maxHeight: 420, overflow: "auto" }}>
        <PlanInLog log={log.lines.map((line) => line.plain).join("\n")} />
      </div>
      {children}
    </Suspense>
  );
}

/** Who approved or rejected, when and why. */
export function Decisions({ stage }: Pick<ApprovalProps, "stage">) {
  const made = decisions(stage);
  if (made.length === 0) return null;
  return (
    <Stack component="ul" role="list" gap="xs" px="md" pb="sm" m={0} aria-label="Decisions">
      {made.map(({ by, verdict, comment, at }) => (
        <li key={`${by} ${verdict}`}>
          <Group gap={6} wrap="nowrap" align="flex-start">
            <StatusIcon status={VERDICTS[verdict]} size={16} />
            <div style={{ minWidth: 0 }}>
              <Text size="sm">
                {VERDICTS[verdict].text} by <strong>{by}</strong>{" "}
                <Text span size="sm" className="faint">
                  <RelativeTime at={at} />
                </Text>
              </Text>
              {comment && (
                <Text size="sm" className="quote">
                  {comment}
                </Text>
              )}
            </div>
          </Group>
        </li>
      ))}
    </Stack>
  );
}

const VERDICTS: Record<Decision["verdict"], StatusDisplay> = {
  approved: { text: "Approved", tone: "good" },
  rejected: { text: "Rejected", tone: "bad" },
};

/** The longest comment that the control plane accepts. */
const MAX_COMMENT = 1000;

function CommentField({ comment, onChange }: { comment: string; onChange: (comment: string) => void }) {
  return (
    <Textarea
      label="Comment"
      description="Shown on this page and in the audit log."
      error={tooLong(comment, MAX_COMMENT)}
      autosize
      minRows={2}
      maxRows={8}
      mt="sm"
      value={comment}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}

function Buttons({ deployment, stage }: ApprovalProps) {
  const me = useQuery(meQuery);
  const dialog = useDialog<"approve" | "reject">();
  const [comment, setComment] = useState("");
  const request = { deploymentId: deployment.id, stageId: stage.id, comment };
  const names = approvers(stage);
  const isApprover = names.length === 0 || names.includes(me.data?.subject ?? "");
  const blocked = isApprover ? "" : `Only ${names.join(", ")} can approve or reject this stage.`;
  const may = useMay();
  const sendCommand = useSendCommand();
  const approve = () =>
    sendCommand({
      send: () => webClient.approveStage(request),
      title: `Approve ${stage.name} of ${deployment.applicationName}`,
      successMessage: () => "Approved.",
    });
  const reject = () =>
    sendCommand({
      send: () => consoleClient.rejectStage(request),
      title: `Reject the deployment of ${deployment.applicationName}`,
      successMessage: () => "Rejected: the deployment was cancelled.",
    });
  if (isDeploymentCompleted(deployment.status) || stage.status !== StageStatus.STAGE_RUNNING) return null;
  return (
    <Group gap="xs">
      {may(WebService.method.approveStage, deployment) && (
        <ActionButton
          size="sm"
          leftSection={<IconCheck size={16} aria-hidden />}
          blocked={blocked}
          onClick={() => dialog.open("approve")}
        >
          Approve
        </ActionButton>
      )}
      {may(ConsoleService.method.rejectStage, deployment) && (
        <ActionButton
          variant="default"
          size="sm"
          leftSection={<IconX size={16} aria-hidden />}
          blocked={blocked}
          onClick={() => dialog.open("reject")}
        >
          Reject
        </ActionButton>
      )}
      <Text size="sm" className="faint">
        {names.length > 0 ? `Can be approved by ${names.join(", ")}.` : "Can be approved by any user whose role allows it."}
      </Text>
      <ConfirmDialog
        title={`Approve the deployment of ${deployment.applicationName}?`}
        verb="Approve deployment"
        opened={dialog.isOpen("approve")}
        close={dialog.close}
        run={approve}
      >
        The stages after {stage.name} run. Your name is recorded.
        <CommentField comment={comment} onChange={setComment} />
      </ConfirmDialog>
      <ConfirmDialog
        title={`Reject the deployment of ${deployment.applicationName}?`}
        verb="Reject deployment"
        dangerous
        opened={dialog.isOpen("reject")}
        close={dialog.close}
        run={reject}
      >
        The deployment is cancelled. It is rolled back if the application enables automatic rollback.
        <CommentField comment={comment} onChange={setComment} />
      </ConfirmDialog>
    </Group>
  );
}
