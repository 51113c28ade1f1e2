// The start page: all applications of the project with their sync status, and the quickstart guide.

import { Alert, Anchor, Button, Skeleton, Stack } from "@mantine/core";
import { IconApps, IconFilterOff, IconPlus } from "../icons";
import { usePrefetchQuery, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import { awaitsApproval } from "../attention";
import { ApplicationFilters } from "../components/application-filters";
import { ApplicationTable } from "../components/application-table";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { QuickstartGuide } from "../components/quickstart-guide";
import { StatusSummary } from "../components/status-summary";
import { BulkActions } from "../features/bulk/bulk-actions";
import { ShortcutBar } from "../features/favourites/shortcut-bar";
import { applicationFilter, isFiltered, withoutFilters } from "../filters";
import { applicationsQuery, pipedsQuery, quickstartQuery, runningDeploymentsQuery, suggestionsQuery } from "../queries";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";

export function ApplicationsPage() {
  const mayAdd = useMay()(WebService.method.addApplication);
  // The guide and the notice are above the list: it would move if they came later.
  const [params] = useSearchParams();
  usePrefetchQuery(applicationsQuery(applicationFilter(params), params.get("after") ?? ""));
  const guide = useQuery(quickstartQuery);
  const suggestions = useQuery({ ...suggestionsQuery, enabled: mayAdd });
  return (
    <Stack gap="lg">
      <PageHeader
        title="Applications"
        actions={
          mayAdd && (
            <Button component={Link} to="/applications/add" leftSection={<IconPlus size={16} aria-hidden />}>
              Add application
            </Button>
          )
        }
      />
      {guide.isLoading || suggestions.isLoading ? (
        <Loading />
      ) : (
        <>
          <QuickstartGuide />
          {mayAdd && <SuggestionNotice />}
          <StatusSummary />
          <ApplicationFilters />
          <ShortcutBar favourites />
          <List />
        </>
      )}
    </Stack>
  );
}

function SuggestionNotice() {
  const suggestions = useQuery(suggestionsQuery);
  const count = suggestions.data?.suggestions.length ?? 0;
  const invalid = suggestions.data?.invalidFiles.length ?? 0;
  if (count + invalid === 0) return null;
  return (
    <Alert variant="light" py="xs" color={count === 0 ? "yellow" : undefined}>
      {count > 0 &&
        `${count === 1 ? "1 application" : `${count} applications`} found in Git ${count === 1 ? "is" : "are"} not registered. `}
      {invalid > 0 &&
        `${invalid === 1 ? "1 configuration file" : `${invalid} configuration files`} of unregistered applications cannot be used. `}
      <Anchor component={Link} to="/applications/add" inherit>
        View {count + invalid === 1 ? "it" : "them"}
      </Anchor>
    </Alert>
  );
}

function List() {
  const [params] = useSearchParams();
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const page = useQuery(applicationsQuery(applicationFilter(params), params.get("after") ?? ""));
  const pipeds = useQuery(pipedsQuery);
  const running = useQuery(runningDeploymentsQuery);
  const waiting = new Set(running.data?.filter(awaitsApproval).map((deployment) => deployment.applicationId));
  // Of the page before only the counters stay, which it has also without applications.
  const isEmptied = page.isPlaceholderData && page.data.applications.length === 0;
  if (page.isPending || isEmptied) return <Loading />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The applications could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { applications, nextCursor, total } = page.data;
  if (applications.length === 0) {
    if (isFiltered(params) || params.has("after")) return <NoMatches />;
    return pipeds.isPending ? <Loading /> : <NoApplications hasPiped={pipeds.data?.length !== 0} />;
  }
  const chosen = applications.filter(({ id }) => selected.has(id));
  const pipedName = (id: string) => pipeds.data?.find((piped) => piped.id === id)?.name ?? "";
  return (
    <Stack gap="sm" aria-busy={page.isPlaceholderData}>
      {chosen.length > 0 && <BulkActions selected={chosen} clear={() => setSelected(new Set())} />}
      <div className="panel" style={{ overflow: "hidden" }}>
        <ApplicationTable
          applications={applications}
          waiting={waiting}
          pipedName={pipedName}
          selected={selected}
          onSelect={setSelected}
        />
      </div>
      <Pagination nextCursor={nextCursor} note={total === 1n ? "1 application" : `${total.toString()} applications`} loading={page.isPlaceholderData} />
    </Stack>
  );
}

function Loading() {
  return (
    <Stack gap="xs" role="status" aria-label="Loading applications">
      {[1, 2, 3, 4].map((row) => (
        <Skeleton key={row} height={52} />
      ))}
    </Stack>
  );
}

function NoMatches() {
  const [params, setParams] = useSearchParams();
  return (
    <EmptyState
      title="No matching applications"
      icon={<IconFilterOff size={36} stroke={1.5} />}
      action={
        <Button variant="default" mt="sm" onClick={() => setParams(withoutFilters(params))}>
          Clear filters
        </Button>
      }
    >
      No application matches all filters. Remove a filter.
    </EmptyState>
  );
}

function NoApplications({ hasPiped }: { hasPiped: boolean }) {
  const may = useMay();
  if (!hasPiped) {
    return (
      <EmptyState
        title="No pipeds registered"
        icon={<IconApps size={36} stroke={1.5} />}
        action={
          may(WebService.method.registerPiped) && (
            <Button component={Link} to="/pipeds?register" mt="sm">
              Register piped
            </Button>
          )
        }
      >
        A piped is the agent that deploys applications; it runs in your environment. Register a piped and start it. The
        applications it finds in Git are suggested here.
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title="No applications yet"
      icon={<IconApps size={36} stroke={1.5} />}
      action={
        may(WebService.method.addApplication) && (
          <Button component={Link} to="/applications/add" mt="sm">
            Add application
          </Button>
        )
      }
    >
      Commit an <span className="mono">app.pipecd.yaml</span> to a directory of a repository that your piped watches.
      The application is suggested here once the piped detects the commit. You can also add it manually.
    </EmptyState>
  );
}
