// An application: its sync status, live state, deployments and configuration.

import { Alert, Anchor, Grid, Skeleton, Stack, Text } from "@mantine/core";
import { usePrefetchQuery, useQuery } from "@tanstack/react-query";
import { Link, useParams, useSearchParams } from "react-router";

import { awaitsApproval, lastDeploymentFailed } from "../attention";
import { ApplicationActions } from "../components/application-actions";
import { displayedSyncStatus } from "../components/application-table";
import { Breakable } from "../components/breakable";
import { CommitLine } from "../components/commit";
import { CopyText } from "../components/copy";
import { DeploymentList } from "../components/deployment-list";
import { DetailList } from "../components/detail-list";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { Labels } from "../components/labels";
import { LiveState } from "../features/resources/live-state-section";
import { FavouriteButton } from "../features/favourites/favourite-button";
import { PinBanner } from "../features/pin/pin-banner";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { RecordPage } from "../components/record-page";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import { SyncButton } from "../components/sync-button";
import { SyncState } from "../components/sync-state";
import { RelativeTime } from "../components/time";
import { versionLines } from "../components/version-line";
import { WebLink } from "../components/web-link";
import { syncStatusDisplay, WAITING_FOR_APPROVAL } from "../display-names";
import { describeFailure } from "../failure";
import { kindName, kindOf, providerOf } from "../kinds";
import { applicationQuery, deploymentsQuery, liveStateQuery, pipedsQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { DeploymentStatus } from "../schema/model/deployment_pb";

const DEPLOYMENTS_SHOWN = 15;
const PARENT = { text: "Applications", to: "/applications" };

export function ApplicationPage() {
  const { id = "" } = useParams();
  // What the page shows of it, without waiting for the application itself.
  usePrefetchQuery(liveStateQuery(id));
  usePrefetchQuery(firstDeployments(id));
  return (
    <RecordPage noun="application" id={id} query={applicationQuery(id)} parent={PARENT} height={320}>
      {(application) =>
        application.deleted ? <Deleted application={application} /> : <ApplicationDetails key={id} application={application} />
      }
    </RecordPage>
  );
}

function Deleted({ application }: { application: Application }) {
  return (
    <>
      <PageHeader title={application.name} parent={PARENT} />
      <EmptyState
        title="This application was deleted"
        action={
          <Anchor component={Link} to={`/deployments?application=${application.id}`}>
            View past deployments
          </Anchor>
        }
      >
        The resources it deployed are still running. To deploy it again, add it again.
      </EmptyState>
    </>
  );
}

function ApplicationDetails({ application }: { application: Application }) {
  const deployments = useQuery(firstDeployments(application.id));
  // The failure of the last one is above the rest of the page, which would move.
  if (deployments.isPending && lastDeploymentFailed(application)) {
    return <Skeleton height={320} role="status" aria-label="Loading application" />;
  }
  const waiting = deployments.data?.deployments.find(awaitsApproval);
  return (
    <Stack gap="lg">
      <PageHeader
        title={application.name}
        parent={PARENT}
        badge={
          <>
            <StatusBadge status={waiting ? WAITING_FOR_APPROVAL : syncStatusDisplay(displayedSyncStatus(application))} />
            <FavouriteButton application={application} />
          </>
        }
        description={application.description}
        actions={
          <>
            <SyncButton application={application} />
            <ApplicationActions application={application} />
          </>
        }
      />
      <PinBanner application={application} />
      <LastFailure application={application} />
      <Section title="Sync status" id="sync-status">
        <SyncState application={application} waiting={waiting} />
      </Section>
      <LiveState application={application} />
      <Grid gap="lg">
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Deployments application={application} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Stack gap="lg">
            <RunningVersion application={application} />
            <Configuration application={application} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Stack>
  );
}

const firstDeployments = (applicationId: string) =>
  deploymentsQuery({ search: "", statuses: [], kinds: [], labels: {}, applicationId }, "", DEPLOYMENTS_SHOWN);

/** The failure of the last deployment, until another one succeeds. */
function LastFailure({ application }: { application: Application }) {
  const last = useQuery(firstDeployments(application.id)).data?.deployments[0];
  if (last?.status !== DeploymentStatus.DEPLOYMENT_FAILURE) return null;
  return (
    <Alert className="toned" data-tone="bad" title="The last deployment failed">
      <Text size="sm" style={{ overflowWrap: "anywhere" }} lineClamp={4}>
        {describeFailure(last)?.sentence}
      </Text>
      <Anchor component={Link} size="sm" to={`/deployments/${last.id}`}>
        View deployment
      </Anchor>
    </Alert>
  );
}

function Deployments({ application }: { application: Application }) {
  const [params] = useSearchParams();
  const filter = { search: "", statuses: [], kinds: [], labels: {}, applicationId: application.id };
  const page = useQuery(deploymentsQuery(filter, params.get("after") ?? "", DEPLOYMENTS_SHOWN));
  const deployments = page.data?.deployments ?? [];
  return (
    <Section
      title="Deployments"
      flush
      aside={
        <Anchor component={Link} size="sm" to={`/deployments?application=${application.id}`}>
          View all
        </Anchor>
      }
    >
      {page.isPending && <Skeleton height={120} m="md" />}
      {page.isError && !page.data && <ErrorAlert title="The deployments could not be loaded" error={page.error} />}
      {page.data && deployments.length === 0 && (
        <EmptyState title="Not deployed yet">
          The first commit that the piped detects for this application is deployed automatically. To deploy without a
          new commit, select Sync.
        </EmptyState>
      )}
      <DeploymentList deployments={deployments} singleApplication />
      <div style={{ padding: "0.5rem 1rem" }}>
        <Pagination nextCursor={page.data?.nextCursor ?? ""} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
      </div>
    </Section>
  );
}

function RunningVersion({ application }: { application: Application }) {
  const running = application.mostRecentlySuccessfulDeployment;
  return (
    <Section title="Running version">
      {running ? (
        <DetailList
          items={[
            ["Commit", <CommitLine key="commit" commit={running.trigger?.commit} />],
            ["Deployed", <DeployedTime key="deployed" application={application} />],
            ["Versions", versionLines(running.versions)],
            ["Summary", running.summary],
          ]}
        />
      ) : (
        <Text size="sm" className="faint">
          No deployment of this application has succeeded yet.
        </Text>
      )}
    </Section>
  );
}

function DeployedTime({ application }: { application: Application }) {
  const running = application.mostRecentlySuccessfulDeployment;
  if (!running) return null;
  return (
    <Anchor component={Link} to={`/deployments/${running.deploymentId}`} inherit>
      <RelativeTime at={running.completedAt || running.startedAt} />
    </Anchor>
  );
}

function Configuration({ application }: { application: Application }) {
  const pipeds = useQuery(pipedsQuery);
  const git = application.gitPath;
  const piped = pipeds.data?.find((candidate) => candidate.id === application.pipedId);
  const file = git && `${git.path}/${git.configFilename || "app.pipecd.yaml"}`;
  return (
    <Section title="Configuration">
      <DetailList
        items={[
          ["Kind", kindName(kindOf(application))],
          ["Platform provider", providerOf(application)],
          [
            "Piped",
            <Anchor key="piped" component={Link} to="/pipeds" inherit>
              {piped?.name ?? application.pipedId}
            </Anchor>,
          ],
          [
            "Repository",
            git?.repo && (
              <Breakable key="repository" text={[git.repo.remote || git.repo.id, git.repo.branch].filter(Boolean).join(" · ")} />
            ),
          ],
          [
            "File",
            file && (
              <WebLink key="file" url={git.url} className="mono">
                <Breakable text={file} />
              </WebLink>
            ),
          ],
          ["Labels", Object.keys(application.labels).length > 0 && <Labels key="labels" labels={application.labels} />],
          ["Added", <RelativeTime key="added" at={application.createdAt} />],
          ["ID", <CopyText key="id" text={application.id} label="ID" />],
        ]}
      />
    </Section>
  );
}
