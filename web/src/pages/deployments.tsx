// All deployments of the project, newest first.

import { Alert, Button, Group, Skeleton, Stack } from "@mantine/core";
import { IconFilterOff, IconRocket } from "../icons";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { DeploymentDays } from "../components/deployment-list";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { FilterSelect, LabelFilter } from "../components/filter-select";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { SearchField } from "../components/search-field";
import { awaitsApproval } from "../attention";
import { deploymentStatusDisplay, WAITING_FOR_APPROVAL } from "../display-names";
import { ShortcutBar } from "../features/favourites/shortcut-bar";
import { deploymentFilter, isFiltered, matchesFilter, slug, withoutFilters, withParam } from "../filters";
import { kindOptions } from "../kinds";
import { WAITING } from "../page-params";
import { applicationQuery, deploymentsQuery, pipedsQuery, runningDeploymentsQuery } from "../queries";
import { DeploymentStatus } from "../schema/model/deployment_pb";

const STATUSES = Object.values(DeploymentStatus).filter((value) => typeof value === "number");
const STATUS_OPTIONS = [
  { value: WAITING, label: WAITING_FOR_APPROVAL.text },
  ...STATUSES.map((status) => ({
    value: slug(DeploymentStatus, status),
    label: deploymentStatusDisplay(status).text,
  })),
];

export function DeploymentsPage() {
  return (
    <Stack gap="lg">
      <PageHeader title="Deployments" />
      <Filters />
      <ShortcutBar />
      <List />
    </Stack>
  );
}

function Filters() {
  const [params, setParams] = useSearchParams();
  const pipeds = useQuery(pipedsQuery);
  const setValues = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  const application = params.get("application") ?? "";
  return (
    <Stack gap="xs">
      <Group gap="xs" role="search" aria-label="Filter deployments">
        <SearchField
          label="Search by application"
          value={params.get("q") ?? ""}
          onSearch={(text) => setValues("q")([text])}
        />
        <FilterSelect
          label="Any status"
          options={STATUS_OPTIONS}
          selected={params.getAll("status")}
          onChange={(statuses) => setValues("status")(withoutOthers(statuses))}
        />
        <FilterSelect
          label="Any kind"
          options={kindOptions(pipeds.data ?? [])}
          selected={params.getAll("kind")}
          onChange={setValues("kind")}
        />
        <LabelFilter selected={params.getAll("label")} onChange={setValues("label")} />
        {isFiltered(params) && (
          <Button
            variant="subtle"
            size="compact-sm"
            onClick={() => setParams(withoutFilters(params), { replace: true })}
          >
            Clear filters
          </Button>
        )}
      </Group>
      {application && <ApplicationNotice id={application} />}
    </Stack>
  );
}

/** Waiting for approval is not a status of the control plane, so it is selected alone: it or the others, whichever is the newest. */
const withoutOthers = (statuses: string[]): string[] =>
  statuses.at(-1) === WAITING ? [WAITING] : statuses.filter((status) => status !== WAITING);

function ApplicationNotice({ id }: { id: string }) {
  const application = useQuery(applicationQuery(id));
  return (
    <Alert variant="light" py="xs">
      Showing only deployments of{" "}
      <Link to={`/applications/${id}`} className="link" style={{ fontWeight: 600 }}>
        {application.data?.record?.name ?? id}
      </Link>
    </Alert>
  );
}

function List() {
  const [params] = useSearchParams();
  return params.getAll("status").includes(WAITING) ? <WaitingList /> : <PagedList />;
}

/** Deployments that wait for an approval. Few run at the same time, so their list has no pages. */
function WaitingList() {
  const [params] = useSearchParams();
  const filter = deploymentFilter(params);
  const running = useQuery(runningDeploymentsQuery);
  if (running.isPending) return <Skeleton height={320} role="status" aria-label="Loading deployments" />;
  if (running.isError && !running.data) {
    return <ErrorAlert title="The deployments could not be loaded" error={running.error} retry={() => running.refetch()} />;
  }
  const waiting = running.data.filter((deployment) => awaitsApproval(deployment) && matchesFilter(deployment, filter));
  return waiting.length === 0 ? <Empty /> : <DeploymentDays deployments={waiting} />;
}

function PagedList() {
  const [params] = useSearchParams();
  const page = useQuery(deploymentsQuery(deploymentFilter(params), params.get("after") ?? ""));
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading deployments" />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The deployments could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { deployments, nextCursor } = page.data;
  if (deployments.length === 0) return <Empty />;
  return (
    <Stack gap="lg" aria-busy={page.isPlaceholderData}>
      <DeploymentDays deployments={deployments} />
      <Pagination nextCursor={nextCursor} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
    </Stack>
  );
}

function Empty() {
  const [params, setParams] = useSearchParams();
  if (isFiltered(params) || params.has("after")) {
    return (
      <EmptyState
        title="No matching deployments"
        icon={<IconFilterOff size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={() => setParams(withoutFilters(params))}>
            Clear filters
          </Button>
        }
      >
        No deployment matches all filters. Remove a filter.
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title="No deployments yet"
      icon={<IconRocket size={36} stroke={1.5} />}
      action={
        <Button component={Link} to="/applications" variant="default" mt="sm">
          View applications
        </Button>
      }
    >
      A deployment starts when a commit changes a registered application, or when a user syncs one.
    </EmptyState>
  );
}
