// Traces: source commits with every deployment that they caused, across repositories.

import { Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { DeploymentList } from "../components/deployment-list";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { SearchField } from "../components/search-field";
import { Section } from "../components/section";
import { RelativeTime } from "../components/time";
import { WebLink } from "../components/web-link";
import { withParam } from "../filters";
import { tracesQuery } from "../queries";
import type { ListDeploymentTracesResponse_DeploymentTraceRes as TraceWithDeployments } from "../schema/web/events_pb";

export function TracesPage() {
  const [params, setParams] = useSearchParams();
  return (
    <Stack gap="lg">
      <PageHeader title="Traces" description="Each commit that an event named, and the deployments that it caused." />
      <div role="search" aria-label="Filter traces">
        <SearchField
          label="Search by commit hash"
          value={params.get("commit") ?? ""}
          onSearch={(text) => setParams((current) => withParam(current, "commit", [text]), { replace: true })}
        />
      </div>
      <TraceList />
    </Stack>
  );
}

function TraceList() {
  const [params] = useSearchParams();
  const commit = params.get("commit") ?? "";
  const page = useQuery(tracesQuery(commit, params.get("after") ?? ""));
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading traces" />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The traces could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { traces, cursor } = page.data;
  if (traces.length === 0) {
    return commit ? (
      <EmptyState title="No trace of this commit">Enter the whole hash of the commit.</EmptyState>
    ) : (
      <EmptyState title="No traces">
        An event that is registered with <code>--commit-hash</code> and <code>--commit-url</code> begins a trace.
      </EmptyState>
    );
  }
  return (
    <Stack gap="md" aria-busy={page.isPlaceholderData}>
      {traces.map((trace) => (
        <TraceSection key={trace.trace?.id} found={trace} />
      ))}
      <Pagination nextCursor={cursor} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
    </Stack>
  );
}

function TraceSection({ found: { trace, deployments } }: { found: TraceWithDeployments }) {
  if (!trace) return null;
  const hash = trace.commitHash.slice(0, 7);
  return (
    <Section title={trace.title || trace.commitMessage.split("\n")[0] || `Commit ${hash}`} flush>
      <Text size="sm" className="faint" px="md" pb="xs">
        <WebLink url={trace.commitUrl} className="mono">
          {hash}
        </WebLink>
        {trace.author && ` by ${trace.author}`} ·{" "}
        <RelativeTime at={trace.commitTimestamp || trace.createdAt} />
      </Text>
      {deployments.length > 0 ? (
        <DeploymentList deployments={deployments} />
      ) : (
        <Text size="sm" className="faint" px="md" pb="md">
          No deployment yet: no commit with this trace was deployed.
        </Text>
      )}
    </Section>
  );
}
