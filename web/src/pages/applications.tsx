// Where one lands: all applications of the project, how they are, and what a newcomer may try.

import { Alert, Anchor, Button, Skeleton, Stack } from "@mantine/core";
import { IconApps, IconFilterOff, IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { applicationFilter, isFiltered, withoutFilters } from "../filters";
import { ApplicationFilters } from "../parts/application-filters";
import { ApplicationTable } from "../parts/application-table";
import { Glance } from "../parts/glance";
import { Newcomer } from "../parts/newcomer";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Pager } from "../parts/pager";
import { Problem } from "../parts/problem";
import { applicationsQuery, pipedsQuery, suggestionsQuery } from "../queries";

export function ApplicationsPage() {
  return (
    <Stack gap="lg">
      <PageHead
        title="Applications"
        actions={
          <Button component={Link} to="/applications/add" leftSection={<IconPlus size={16} aria-hidden />}>
            Add application
          </Button>
        }
      />
      <Newcomer />
      <Suggested />
      <Glance />
      <ApplicationFilters />
      <List />
    </Stack>
  );
}

function Suggested() {
  const suggestions = useQuery(suggestionsQuery);
  const count = suggestions.data?.length ?? 0;
  if (count === 0) return null;
  return (
    <Alert variant="light" py="xs">
      {count === 1 ? "An application" : `${count} applications`} found in Git {count === 1 ? "is" : "are"} not
      registered yet.{" "}
      <Anchor component={Link} to="/applications/add" inherit>
        Look at {count === 1 ? "it" : "them"}
      </Anchor>
    </Alert>
  );
}

function List() {
  const [params] = useSearchParams();
  const page = useQuery(applicationsQuery(applicationFilter(params), params.get("after") ?? ""));
  const pipeds = useQuery(pipedsQuery);
  if (page.isPending) return <Loading />;
  if (page.isError && !page.data) {
    return <Problem title="The applications could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { applications, nextCursor, total } = page.data;
  if (applications.length === 0) {
    return isFiltered(params) || params.has("after") ? <NoMatch /> : <NoneYet hasPiped={pipeds.data?.length !== 0} />;
  }
  const nameOf = (id: string) => pipeds.data?.find((piped) => piped.id === id)?.name ?? "";
  return (
    <Stack gap="sm" aria-busy={page.isPlaceholderData}>
      <div className="panel" style={{ overflow: "hidden" }}>
        <ApplicationTable applications={applications} pipedName={nameOf} />
      </div>
      <Pager next={nextCursor} note={total === 1n ? "1 application" : `${total.toString()} applications`} />
    </Stack>
  );
}

function Loading() {
  return (
    <Stack gap="xs" role="status" aria-label="Loading the applications">
      {[1, 2, 3, 4].map((row) => (
        <Skeleton key={row} height={52} />
      ))}
    </Stack>
  );
}

function NoMatch() {
  const [params, setParams] = useSearchParams();
  return (
    <NothingHere
      title="No application matches"
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

function NoneYet({ hasPiped }: { hasPiped: boolean }) {
  if (!hasPiped) {
    return (
      <NothingHere
        title="Start with a piped"
        icon={<IconApps size={36} stroke={1.5} />}
        action={
          <Button component={Link} to="/pipeds" mt="sm">
            Register a piped
          </Button>
        }
      >
        Applications are deployed by an agent called piped, which runs where they do. This project has none yet.
        Register one, start it, and the applications it finds in Git are suggested here.
      </NothingHere>
    );
  }
  return (
    <NothingHere
      title="No application yet"
      icon={<IconApps size={36} stroke={1.5} />}
      action={
        <Button component={Link} to="/applications/add" mt="sm">
          Add an application
        </Button>
      }
    >
      Put a file <span className="mono">app.pipecd.yaml</span> into a directory of a repository that your piped watches.
      It is suggested here as soon as the piped has seen the commit; or add it by hand.
    </NothingHere>
  );
}
