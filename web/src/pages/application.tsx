// One application: how it stands, what was deployed, and where it comes from.

import { Anchor, Grid, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams, useSearchParams } from "react-router";

import { isMissing } from "../api";
import { ApplicationActions } from "../parts/application-actions";
import { shownStatus } from "../parts/application-table";
import { CommitLine } from "../parts/commit";
import { CopyText } from "../parts/copy";
import { DeploymentList } from "../parts/deployment-list";
import { Facts } from "../parts/facts";
import { Labels } from "../parts/labels";
import { LiveState } from "../parts/live-state";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Pager } from "../parts/pager";
import { Problem } from "../parts/problem";
import { Section } from "../parts/section";
import { StatusBadge } from "../parts/status";
import { SyncButton } from "../parts/sync-button";
import { SyncState } from "../parts/sync-state";
import { Ago } from "../parts/time";
import { applicationQuery, deploymentsQuery, pipedsQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { kindName, syncWord } from "../words";

const DEPLOYMENTS_SHOWN = 15;
const HOME = { text: "Applications", to: "/applications" };

export function ApplicationPage() {
  const { id = "" } = useParams();
  const found = useQuery(applicationQuery(id));
  if (found.data?.deleted) return <Deleted application={found.data} />;
  if (found.data) return <Shown application={found.data} />;
  if (found.isPending) return <Skeleton height={320} role="status" aria-label="Loading the application" />;
  if (found.data === null || isMissing(found.error)) {
    return (
      <>
        <PageHead title="Application not found" from={HOME} />
        <NothingHere title="There is no such application">
          It may have been deleted, or it belongs to another project.
        </NothingHere>
      </>
    );
  }
  return <Problem title="The application could not be loaded" error={found.error} retry={() => found.refetch()} />;
}

function Deleted({ application }: { application: Application }) {
  return (
    <>
      <PageHead title={application.name} from={HOME} />
      <NothingHere
        title="This application was deleted"
        action={
          <Anchor component={Link} to={`/deployments?application=${application.id}`}>
            Its past deployments
          </Anchor>
        }
      >
        What it deployed goes on running. To deploy it again, add it anew.
      </NothingHere>
    </>
  );
}

function Shown({ application }: { application: Application }) {
  return (
    <Stack gap="lg">
      <PageHead
        title={application.name}
        from={HOME}
        beside={<StatusBadge word={syncWord(shownStatus(application))} />}
        note={application.description}
        actions={
          <>
            <SyncButton application={application} />
            <ApplicationActions application={application} />
          </>
        }
      />
      <Grid gap="lg">
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Stack gap="lg">
            <Section title="State">
              <SyncState application={application} />
            </Section>
            <LiveState application={application} />
            <Deployments application={application} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Stack gap="lg">
            <Running application={application} />
            <Configuration application={application} />
          </Stack>
        </Grid.Col>
      </Grid>
    </Stack>
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
      beside={
        <Anchor component={Link} size="sm" to={`/deployments?application=${application.id}`}>
          Filter them
        </Anchor>
      }
    >
      {page.isPending && <Skeleton height={120} m="md" />}
      {page.isError && !page.data && <Problem title="The deployments could not be loaded" error={page.error} />}
      {page.data && deployments.length === 0 && (
        <NothingHere title="Not deployed yet">
          The first commit that the piped sees for this application is deployed by itself. To deploy without a new
          commit, press Sync.
        </NothingHere>
      )}
      <DeploymentList deployments={deployments} ofOne />
      <div style={{ padding: "0.5rem 1rem" }}>
        <Pager next={page.data?.nextCursor ?? ""} words={{ back: "Newer", on: "Older" }} />
      </div>
    </Section>
  );
}

function Running({ application }: { application: Application }) {
  const running = application.mostRecentlySuccessfulDeployment;
  return (
    <Section title="What runs">
      {running ? (
        <Facts
          facts={[
            ["Commit", <CommitLine key="commit" commit={running.trigger?.commit} />],
            ["Deployed", <RunningSince key="since" application={application} />],
            [
              "Versions",
              running.versions.length > 0 &&
                running.versions.map((version) => (
                  <div key={`${version.name}@${version.version}`}>
                    {version.name || "Source"} <span className="mono">{version.version}</span>
                  </div>
                )),
            ],
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

function RunningSince({ application }: { application: Application }) {
  const running = application.mostRecentlySuccessfulDeployment;
  if (!running) return null;
  return (
    <Anchor component={Link} to={`/deployments/${running.deploymentId}`} inherit>
      <Ago at={running.completedAt || running.startedAt} />
    </Anchor>
  );
}

function Configuration({ application }: { application: Application }) {
  const pipeds = useQuery(pipedsQuery);
  const git = application.gitPath;
  const piped = pipeds.data?.find((each) => each.id === application.pipedId);
  const directory = git && `${git.path}/${git.configFilename || "app.pipecd.yaml"}`;
  return (
    <Section title="Configuration">
      <Facts
        facts={[
          ["Kind", kindName(application.kind)],
          ["Platform provider", application.platformProvider],
          [
            "Piped",
            <Anchor key="piped" component={Link} to="/pipeds" inherit>
              {piped?.name ?? application.pipedId}
            </Anchor>,
          ],
          ["Repository", git?.repo && [git.repo.remote || git.repo.id, git.repo.branch].filter(Boolean).join(" · ")],
          ["File", directory && <FileLink url={git.url} text={directory} />],
          ["Labels", Object.keys(application.labels).length > 0 && <Labels key="labels" labels={application.labels} />],
          ["Added", <Ago key="added" at={application.createdAt} />],
          ["ID", <CopyText key="id" text={application.id} what="ID" />],
        ]}
      />
    </Section>
  );
}

function FileLink({ url, text }: { url: string; text: string }) {
  if (!/^https?:\/\//.test(url)) return <span className="mono">{text}</span>;
  return (
    <Anchor href={url} target="_blank" rel="noreferrer" className="mono" inherit>
      {text}
    </Anchor>
  );
}
