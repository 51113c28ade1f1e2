// A deployment: its pipeline, stage logs, details and actions.

import { Anchor, Button, Grid, Group, Progress, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams, useSearchParams } from "react-router";

import { AnalysisPanel } from "../components/analysis-panel";
import { ApprovalPanel, Decisions } from "../components/approval-panel";
import { CommitLine } from "../components/commit";
import { CopyText } from "../components/copy";
import { CancelButton, SkipButton } from "../components/deployment-actions";
import { DetailList } from "../components/detail-list";
import { FailureAlert } from "../components/failure-alert";
import { Labels } from "../components/labels";
import { LinkNotice } from "../components/left-out-params";
import { PageHeader } from "../components/page-header";
import { Pipeline } from "../components/pipeline";
import { RecordPage } from "../components/record-page";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import { Duration, RelativeTime } from "../components/time";
import { VariantFigures } from "../components/variant-figures";
import { versionLines } from "../components/version-line";
import { WebLink } from "../components/web-link";
import { deploymentDisplay, isDeploymentCompleted, stageDisplay } from "../display-names";
import { LogView } from "../features/log/log-view";
import { RollBackButton } from "../features/pin/roll-back";
import { compareTo, describeFailure, failedStage } from "../failure";
import { kindName, kindOf } from "../kinds";
import { withParam } from "../filters";
import { deploymentQuery, deploymentsQuery, pipedsQuery, unfinishedDeploymentsQuery } from "../queries";
import type { Deployment } from "../schema/model/deployment_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import { Piped_ConnectionStatus } from "../schema/model/piped_pb";
import type { PipelineStage } from "../schema/model/stage_pb";
import { canApprove, defaultStageId, stageNote, stageProgress, variantFigures } from "../stages";

const PARENT = { text: "Deployments", to: "/deployments" };

export function DeploymentPage() {
  const { id = "" } = useParams();
  return (
    <RecordPage noun="deployment" id={id} query={deploymentQuery(id)} parent={PARENT} height={420}>
      {(deployment) => <DeploymentDetails key={id} deployment={deployment} />}
    </RecordPage>
  );
}

function DeploymentDetails({ deployment }: { deployment: Deployment }) {
  const [params, setParams] = useSearchParams();
  const requestedStageId = params.get("stage") ?? "";
  const requested = deployment.stages.find((candidate) => candidate.id === requestedStageId);
  const stage = requested ?? deployment.stages.find((candidate) => candidate.id === defaultStageId(deployment));
  const isUnknownStage = requestedStageId !== "" && !requested && stage !== undefined;
  const selectStage = (stageId: string) =>
    setParams((current) => withParam(withParam(current, "line", []), "stage", [stageId]), { replace: true });
  return (
    <Stack gap="lg">
      <PageHeader
        title={deployment.applicationName}
        tabTitle={`${deployment.applicationName}: deployment`}
        parent={PARENT}
        badge={<StatusBadge status={deploymentDisplay(deployment)} />}
        description={deployment.summary}
        actions={
          <>
            <CompareLink deployment={deployment} />
            {isDeploymentCompleted(deployment.status) ? (
              <RollBackButton deployment={deployment} />
            ) : (
              <CancelButton deployment={deployment} />
            )}
          </>
        }
      />
      <FailureAlert deployment={deployment} />
      {isUnknownStage && (
        <LinkNotice to={{ search: withParam(withParam(params, "line", []), "stage", []).toString() }}>
          This deployment has no stage {requestedStageId.slice(0, 100)}. The log of all stages is shown.
        </LinkNotice>
      )}
      <Section title="Pipeline" aside={deployment.stages.length > 0 && <PipelineProgress deployment={deployment} />}>
        {deployment.stages.length > 0 ? (
          <>
            <Pipeline stages={deployment.stages} selectedId={stage?.id ?? ""} onSelect={selectStage} />
            <VariantFigures figures={variantFigures(deployment.stages)} />
          </>
        ) : (
          <NotPlanned deployment={deployment} />
        )}
      </Section>
      <Grid gap="lg">
        {stage && (
          <Grid.Col span={{ base: 12, lg: 9 }}>
            <StageSection deployment={deployment} stage={stage} allLogs={isUnknownStage} />
          </Grid.Col>
        )}
        <Grid.Col span={{ base: 12, lg: stage ? 3 : 12 }}>
          <Details deployment={deployment} />
        </Grid.Col>
      </Grid>
    </Stack>
  );
}

/** Compares it with the deployment of the application that was triggered before it. */
function CompareLink({ deployment }: { deployment: Deployment }) {
  const filter = { search: "", statuses: [], kinds: [], labels: {}, applicationId: deployment.applicationId };
  const recent = useQuery(deploymentsQuery(filter, "", 30)).data?.deployments ?? [];
  const before = recent
    .filter(({ id, createdAt }) => id !== deployment.id && createdAt <= deployment.createdAt)
    .toSorted((a, b) => Number(b.createdAt - a.createdAt))[0];
  if (!before) return null;
  return (
    <Button component={Link} variant="default" to={compareTo(before.id, deployment.id)}>
      Compare
    </Button>
  );
}

function PipelineProgress({ deployment }: { deployment: Deployment }) {
  const { ended, total } = stageProgress(deployment.stages);
  return (
    <Group gap="xs" wrap="nowrap">
      <Progress value={total > 0 ? (100 * ended) / total : 0} w={96} size="sm" aria-label="Stages that have ended" />
      <Text size="xs" className="faint" style={{ whiteSpace: "nowrap" }}>
        {ended} of {total} stages ·{" "}
        <Duration from={deployment.createdAt} until={deployment.completedAt} />
      </Text>
    </Group>
  );
}

/** Why the deployment has no stages yet, and what it waits for. */
function NotPlanned({ deployment }: { deployment: Deployment }) {
  const completed = isDeploymentCompleted(deployment.status);
  const unfinished = useQuery({ ...unfinishedDeploymentsQuery(deployment.applicationId), enabled: !completed });
  const pipeds = useQuery({ ...pipedsQuery, enabled: !completed });
  const piped = pipeds.data?.find((candidate) => candidate.id === deployment.pipedId);
  const before = unfinished.data
    ?.filter((other) => other.id !== deployment.id && other.createdAt <= deployment.createdAt)
    .toSorted((a, b) => Number(a.createdAt - b.createdAt))[0];
  return (
    <Text size="sm" className="faint">
      {completed ? (
        "The deployment ended before it was planned."
      ) : piped && piped.status !== Piped_ConnectionStatus.ONLINE ? (
        <>
          Waits for the piped <Anchor component={Link} to="/pipeds" inherit>{piped.name}</Anchor>, which is not online.
        </>
      ) : before ? (
        <>
          Waits until the{" "}
          <Anchor component={Link} to={`/deployments/${before.id}`} inherit>
            deployment before it
          </Anchor>{" "}
          has ended, which is {deploymentDisplay(before).text.toLowerCase()}.
        </>
      ) : deployment.deploymentChainBlockIndex > 0 ? (
        <>
          Waits for the earlier blocks of its{" "}
          <Anchor component={Link} to={`/chains/${deployment.deploymentChainId}`} inherit>
            deployment chain
          </Anchor>
          .
        </>
      ) : (
        "The piped is planning this deployment. Its stages appear here once it is planned."
      )}
    </Text>
  );
}

interface StageSectionProps {
  deployment: Deployment;
  stage: PipelineStage;
  /** Shows the log of all stages, whatever the address says. */
  allLogs: boolean;
}

function StageSection({ deployment, stage, allLogs }: StageSectionProps) {
  const candidateUrl = stage.metadata["candidate-url"];
  const status = stageDisplay(stage);
  // The status is shown beside the name, and the reason of a failure above.
  const shown = [status.text, failedStage(deployment)?.id === stage.id ? describeFailure(deployment)?.sentence : ""];
  const note = shown.some((text) => text?.includes(stageNote(stage))) ? "" : stageNote(stage);
  return (
    <Section
      title={stage.name}
      id="log"
      flush
      aside={
        <Group gap="sm">
          <SkipButton deployment={deployment} stage={stage} />
          <StatusBadge status={status} />
        </Group>
      }
    >
      <Stack gap={2} px="md" pb="xs">
        {stage.desc && <Text size="sm">{stage.desc}</Text>}
        {note && (
          <Text size="sm" className="faint">
            {note}
          </Text>
        )}
        {candidateUrl && (
          <Text size="sm" className="faint">
            The new version alone: <WebLink url={candidateUrl}>{candidateUrl}</WebLink>
          </Text>
        )}
      </Stack>
      <AnalysisPanel stage={stage} />
      <Decisions stage={stage} />
      {canApprove(stage) && <ApprovalPanel deployment={deployment} stage={stage} />}
      <LogView deployment={deployment} stage={stage} showAll={allLogs} />
    </Section>
  );
}

/** Source commits that the line "Trace" links. */
const MAX_TRACE_LINKS = 4;

/** PipeCD's agents report one. */
const traceCommits = (deployment: Deployment): string[] =>
  deployment.deploymentTraceCommitHashes.length > 0
    ? deployment.deploymentTraceCommitHashes
    : [deployment.deploymentTraceCommitHash];

function TraceLinks({ commits }: { commits: string[] }) {
  const more = commits.length - MAX_TRACE_LINKS;
  return (
    <>
      {commits.slice(0, MAX_TRACE_LINKS).map((commit, index) => (
        <span key={commit}>
          {index > 0 && ", "}
          <Anchor component={Link} to={`/traces?commit=${commit}`} inherit>
            {index === 0 ? "Caused by commit" : "commit"} {commit.slice(0, 7)}
          </Anchor>
        </span>
      ))}
      {more > 0 && ` and ${more} more`}
    </>
  );
}

/** The ID of the earlier deployment whose commit is deployed again; empty if it is no rollback. */
const rollbackTarget = (deployment: Deployment): string =>
  deployment.metadataV2?.shared?.keyValues["pipecd/rollback-target"] ?? "";

function Details({ deployment }: { deployment: Deployment }) {
  const { trigger } = deployment;
  const commit = trigger?.commit;
  return (
    <Section title="Details">
      <DetailList
        items={[
          [
            "Application",
            <Anchor key="application" component={Link} to={`/applications/${deployment.applicationId}`} inherit>
              {deployment.applicationName}
            </Anchor>,
          ],
          ["Kind", kindName(kindOf(deployment))],
          ["Commit", commit && <CommitLine key="commit" commit={commit} />],
          ["Triggered by", trigger && (trigger.commander || commit?.author)],
          [
            "Rolls back to",
            rollbackTarget(deployment) && (
              <Anchor key="rollback" component={Link} to={`/deployments/${rollbackTarget(deployment)}`} inherit>
                an earlier deployment
              </Anchor>
            ),
          ],
          [
            "Chain",
            deployment.deploymentChainId && (
              <Anchor key="chain" component={Link} to={`/chains/${deployment.deploymentChainId}`} inherit>
                Block {deployment.deploymentChainBlockIndex + 1} of a deployment chain
              </Anchor>
            ),
          ],
          [
            "Trace",
            deployment.deploymentTraceCommitHash && (
              <TraceLinks key="trace" commits={traceCommits(deployment)} />
            ),
          ],
          ["Created", <RelativeTime key="created" at={deployment.createdAt} />],
          ["Duration", <Duration key="duration" from={deployment.createdAt} until={deployment.completedAt} />],
          [
            "Previous commit",
            deployment.runningCommitHash && <span className="mono">{deployment.runningCommitHash.slice(0, 7)}</span>,
          ],
          ["Versions", versionLines(deployment.versions)],
          [
            "Status reason",
            deployment.status === DeploymentStatus.DEPLOYMENT_SUCCESS && deployment.statusReason,
          ],
          [
            "Labels",
            Object.keys(deployment.labels).length > 0 && (
              <Labels key="labels" labels={deployment.labels} list="/deployments" />
            ),
          ],
          ["ID", <CopyText key="id" text={deployment.id} label="ID" />],
        ]}
      />
    </Section>
  );
}
