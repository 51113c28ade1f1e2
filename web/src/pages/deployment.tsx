// One deployment: the way it takes, what its stages say, and what people may ask of it.

import { Alert, Anchor, Group, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams, useSearchParams } from "react-router";

import { isMissing } from "../api";
import { withParam } from "../filters";
import { CommitLine } from "../parts/commit";
import { CopyText } from "../parts/copy";
import { CancelButton, StageActions } from "../parts/deployment-actions";
import { Facts } from "../parts/facts";
import { Labels } from "../parts/labels";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Pipeline } from "../parts/pipeline";
import { Problem } from "../parts/problem";
import { Section } from "../parts/section";
import { StageLogView } from "../parts/stage-log";
import { StatusBadge } from "../parts/status";
import { Ago, Lasted } from "../parts/time";
import { deploymentQuery } from "../queries";
import type { Deployment } from "../schema/model/deployment_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import type { PipelineStage } from "../schema/model/stage_pb";
import { approvers, interesting, mayApprove, stageNote } from "../stages";
import { deploymentWord, isOver, kindName, stageWord } from "../words";

const HOME = { text: "Deployments", to: "/deployments" };

export function DeploymentPage() {
  const { id = "" } = useParams();
  const found = useQuery(deploymentQuery(id));
  if (found.data) return <Shown deployment={found.data} />;
  if (found.isPending) return <Skeleton height={420} role="status" aria-label="Loading the deployment" />;
  if (found.data === null || isMissing(found.error)) {
    return (
      <>
        <PageHead title="Deployment not found" from={HOME} />
        <NothingHere title="There is no such deployment">The link may be cut short, or lead to another project.</NothingHere>
      </>
    );
  }
  return <Problem title="The deployment could not be loaded" error={found.error} retry={() => found.refetch()} />;
}

function Shown({ deployment }: { deployment: Deployment }) {
  const [params, setParams] = useSearchParams();
  const asked = params.get("stage") ?? "";
  const stage =
    deployment.stages.find((each) => each.id === asked) ??
    deployment.stages.find((each) => each.id === interesting(deployment));
  const choose = (stageId: string) =>
    setParams((current) => withParam(withParam(current, "line", []), "stage", [stageId]), { replace: true });
  return (
    <Stack gap="lg">
      <PageHead
        title={deployment.applicationName}
        tab={`${deployment.applicationName}: deployment`}
        from={HOME}
        beside={<StatusBadge word={deploymentWord(deployment.status)} />}
        note={deployment.summary}
        actions={isOver(deployment.status) ? null : <CancelButton deployment={deployment} />}
      />
      <Why deployment={deployment} />
      <Section title="Pipeline">
        {deployment.stages.length > 0 ? (
          <Pipeline stages={deployment.stages} chosen={stage?.id ?? ""} onChoose={choose} />
        ) : (
          <Text size="sm" className="faint">
            {isOver(deployment.status)
              ? "It ended before it was planned."
              : "The piped plans this deployment; its stages appear here in a moment."}
          </Text>
        )}
      </Section>
      {stage && <StageSection deployment={deployment} stage={stage} />}
      <About deployment={deployment} />
    </Stack>
  );
}

function Why({ deployment }: { deployment: Deployment }) {
  const bad = deployment.status === DeploymentStatus.DEPLOYMENT_FAILURE;
  const turned =
    deployment.status === DeploymentStatus.DEPLOYMENT_ROLLING_BACK ||
    deployment.status === DeploymentStatus.DEPLOYMENT_CANCELLED;
  if (!deployment.statusReason || !(bad || turned)) return null;
  return (
    <Alert color={bad ? "red" : "orange"} variant="light" title={deploymentWord(deployment.status).text}>
      {deployment.statusReason}
    </Alert>
  );
}

function StageSection({ deployment, stage }: { deployment: Deployment; stage: PipelineStage }) {
  const named = approvers(stage);
  return (
    <Section
      title={stage.name}
      flush
      beside={
        <Group gap="sm">
          <StageActions deployment={deployment} stage={stage} />
          <StatusBadge word={stageWord(stage.status)} />
        </Group>
      }
    >
      <Stack gap={2} px="md" pb="xs">
        {stage.desc && <Text size="sm">{stage.desc}</Text>}
        {stageNote(stage) && (
          <Text size="sm" className="faint">
            {stageNote(stage)}
          </Text>
        )}
        {mayApprove(stage) && (
          <Text size="sm" className="faint">
            {named.length > 0 ? `May be approved by ${named.join(", ")}.` : "Anybody whose role allows it may approve."}
          </Text>
        )}
      </Stack>
      <StageLogView deploymentId={deployment.id} stage={stage} />
    </Section>
  );
}

function About({ deployment }: { deployment: Deployment }) {
  const { trigger } = deployment;
  const commit = trigger?.commit;
  return (
    <Section title="About">
      <Facts
        facts={[
          [
            "Application",
            <Anchor key="application" component={Link} to={`/applications/${deployment.applicationId}`} inherit>
              {deployment.applicationName}
            </Anchor>,
          ],
          ["Kind", kindName(deployment.kind)],
          ["Commit", commit && <CommitLine key="commit" commit={commit} />],
          ["Triggered by", trigger && (trigger.commander || commit?.author)],
          ["Created", <Ago key="created" at={deployment.createdAt} />],
          ["Took", <Lasted key="took" from={deployment.createdAt} until={deployment.completedAt} />],
          ["Ran before", deployment.runningCommitHash && <span className="mono">{deployment.runningCommitHash.slice(0, 7)}</span>],
          [
            "Versions",
            deployment.versions.length > 0 &&
              deployment.versions.map((version) => (
                <div key={`${version.name}@${version.version}`}>
                  {version.name || "Source"} <span className="mono">{version.version}</span>
                </div>
              )),
          ],
          ["Outcome", isOver(deployment.status) && deployment.statusReason],
          [
            "Labels",
            Object.keys(deployment.labels).length > 0 && (
              <Labels key="labels" labels={deployment.labels} list="/deployments" />
            ),
          ],
          ["ID", <CopyText key="id" text={deployment.id} what="ID" />],
        ]}
      />
    </Section>
  );
}
