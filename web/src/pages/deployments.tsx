// All deployments of the project, newest first, as they happen.

import { Alert, Button, Group, Skeleton, Stack } from "@mantine/core";
import { IconFilterOff, IconRocket } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { deploymentFilter, isFiltered, slug, withoutFilters, withParam } from "../filters";
import { Choices, LabelChoices } from "../parts/choices";
import { DeploymentDays } from "../parts/deployment-list";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Pager } from "../parts/pager";
import { Problem } from "../parts/problem";
import { SearchField } from "../parts/search-field";
import { applicationQuery, deploymentsQuery } from "../queries";
import { DeploymentStatus } from "../schema/model/deployment_pb";
import { ApplicationKind } from "../schema/model/kind_pb";
import { deploymentWord, kindName, KINDS } from "../words";

const STATUSES = Object.values(DeploymentStatus).filter((value) => typeof value === "number");
const STATUS_OPTIONS = STATUSES.map((status) => ({
  value: slug(DeploymentStatus, status),
  label: deploymentWord(status).text,
}));
const KIND_OPTIONS = KINDS.map((kind) => ({ value: slug(ApplicationKind, kind), label: kindName(kind) }));

export function DeploymentsPage() {
  return (
    <Stack gap="lg">
      <PageHead title="Deployments" />
      <Filters />
      <List />
    </Stack>
  );
}

function Filters() {
  const [params, setParams] = useSearchParams();
  const choose = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  const application = params.get("application") ?? "";
  return (
    <Stack gap="xs">
      <Group gap="xs" role="search" aria-label="Filter the deployments">
        <SearchField
          label="Search by application"
          value={params.get("q") ?? ""}
          onSearch={(text) => choose("q")([text])}
        />
        <Choices
          label="Any status"
          options={STATUS_OPTIONS}
          chosen={params.getAll("status")}
          onChoose={choose("status")}
        />
        <Choices label="Any kind" options={KIND_OPTIONS} chosen={params.getAll("kind")} onChoose={choose("kind")} />
        <LabelChoices chosen={params.getAll("label")} onChoose={choose("label")} />
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
      {application && <OfOne id={application} />}
    </Stack>
  );
}

function OfOne({ id }: { id: string }) {
  const application = useQuery(applicationQuery(id));
  return (
    <Alert variant="light" py="xs">
      Only deployments of{" "}
      <Link to={`/applications/${id}`} className="link" style={{ fontWeight: 600 }}>
        {application.data?.name ?? id}
      </Link>
    </Alert>
  );
}

function List() {
  const [params] = useSearchParams();
  const page = useQuery(deploymentsQuery(deploymentFilter(params), params.get("after") ?? ""));
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading the deployments" />;
  if (page.isError && !page.data) {
    return <Problem title="The deployments could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { deployments, nextCursor } = page.data;
  if (deployments.length === 0) return <Empty />;
  return (
    <Stack gap="lg" aria-busy={page.isPlaceholderData}>
      <DeploymentDays deployments={deployments} />
      <Pager next={nextCursor} words={{ back: "Newer", on: "Older" }} />
    </Stack>
  );
}

function Empty() {
  const [params, setParams] = useSearchParams();
  if (isFiltered(params) || params.has("after")) {
    return (
      <NothingHere
        title="No deployment matches"
        icon={<IconFilterOff size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={() => setParams(withoutFilters(params))}>
            Clear filters
          </Button>
        }
      >
        The filters above leave nothing over. Take one of them away.
      </NothingHere>
    );
  }
  return (
    <NothingHere
      title="Nothing was deployed yet"
      icon={<IconRocket size={36} stroke={1.5} />}
      action={
        <Button component={Link} to="/applications" variant="default" mt="sm">
          To the applications
        </Button>
      }
    >
      A deployment starts when a commit changes a registered application, or when somebody presses Sync on one.
    </NothingHere>
  );
}
