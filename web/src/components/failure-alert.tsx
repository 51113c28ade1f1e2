// After a failure: what happened in one sentence, what runs now, and the next steps.

import { Alert, Anchor, Group, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";

import { useSync } from "../commands";
import { isDeploymentCompleted } from "../display-names";
import { compareTo, compareUrl, describeFailure } from "../failure";
import { IconRefresh } from "../icons";
import { applicationQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import type { Deployment } from "../schema/model/deployment_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { SyncStrategy } from "../schema/model/strategy_pb";
import { WebService } from "../schema/web/service_pb";
import { syncObstacle } from "../features/pin/pin";
import { useMay } from "../use-may";
import { ActionButton } from "./action-button";
import { useNow } from "./time";
import { WebLink } from "./web-link";

export function FailureAlert({ deployment }: { deployment: Deployment }) {
  const failure = describeFailure(deployment);
  if (!failure) return null;
  const failed = deployment.status === DeploymentStatus.DEPLOYMENT_FAILURE;
  return (
    <Alert className="toned" data-tone={failed ? "bad" : "warning"} title={failure.title}>
      <Stack gap="sm">
        <Text size="sm" style={{ overflowWrap: "anywhere", whiteSpace: "pre-wrap" }}>
          {failure.sentence}
        </Text>
        <NextSteps deployment={deployment} failedStage={failure.stage?.status === StageStatus.STAGE_FAILURE ? failure.stage : undefined} />
      </Stack>
    </Alert>
  );
}

interface NextStepsProps {
  deployment: Deployment;
  /** Undefined if none failed: one that was stopped or rejected has no error. */
  failedStage: PipelineStage | undefined;
}

function NextSteps({ deployment, failedStage }: NextStepsProps) {
  const application = useQuery(applicationQuery(deployment.applicationId)).data?.record;
  const { commit } = deployment.trigger ?? {};
  const good = application?.mostRecentlySuccessfulDeployment;
  const from = good?.trigger?.commit?.hash || deployment.runningCommitHash;
  const comparison = compareUrl(commit?.url ?? "", from, commit?.hash ?? "");
  return (
    <Group gap="md">
      {isDeploymentCompleted(deployment.status) && application && !application.deleted && (
        <RetryButton application={application} />
      )}
      {failedStage && (
        <Anchor component={Link} size="sm" to={{ search: `?stage=${encodeURIComponent(failedStage.id)}&line=error`, hash: "log" }}>
          First error
        </Anchor>
      )}
      <Anchor component={Link} size="sm" to={`/applications/${deployment.applicationId}#sync-status`}>
        What differs now
      </Anchor>
      {good && good.deploymentId !== deployment.id && (
        <Anchor component={Link} size="sm" to={`/deployments/${good.deploymentId}`}>
          Last successful deployment
        </Anchor>
      )}
      {good && good.deploymentId !== deployment.id && (
        <Anchor component={Link} size="sm" to={compareTo(good.deploymentId, deployment.id)}>
          Compare with it
        </Anchor>
      )}
      {comparison && (
        <Text size="sm" component="span">
          <WebLink url={comparison}>Compare commits with it</WebLink>
        </Text>
      )}
    </Group>
  );
}

function RetryButton({ application }: { application: Application }) {
  const may = useMay();
  const now = useNow();
  const retry = useSync(application.id, () => `Retry of ${application.name}`);
  if (!may(WebService.method.syncApplication, application)) return null;
  return (
    <ActionButton
      size="compact-sm"
      variant="default"
      leftSection={<IconRefresh size={14} aria-hidden />}
      loading={retry.isPending}
      blocked={syncObstacle(application, now)}
      title="Deploys the newest commit of the branch again"
      onClick={() => retry.mutate(SyncStrategy.AUTO)}
    >
      Retry
    </ActionButton>
  );
}
