// A deployment chain: a column for each block with its applications and their deployments.

import { Skeleton, Stack } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useParams } from "react-router";

import { isNotFound } from "../api";
import { ChainColumns } from "../components/chain";
import { CopyText } from "../components/copy";
import { DetailList } from "../components/detail-list";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import { Duration, RelativeTime } from "../components/time";
import { chainFailureText, chainStatusDisplay } from "../display-names";
import { chainQuery } from "../queries";

const PARENT = { text: "Chains", to: "/chains" };

export function ChainPage() {
  const { id = "" } = useParams();
  const query = useQuery(chainQuery(id));
  if (query.isPending) return <Skeleton height={420} role="status" aria-label="Loading chain" />;
  if (query.data === null || isNotFound(query.error)) {
    return (
      <>
        <PageHeader title="Chain not found" parent={PARENT} />
        <EmptyState title="This chain does not exist">
          The link may be incomplete, or the chain belongs to another project.
        </EmptyState>
      </>
    );
  }
  if (!query.data) {
    return <ErrorAlert title="The chain could not be loaded" error={query.error} retry={() => query.refetch()} />;
  }
  const chain = query.data;
  const first = chain.blocks[0]?.nodes[0]?.applicationRef?.applicationName ?? "";
  return (
    <Stack gap="lg">
      <PageHeader
        title={`Chain of ${first}`}
        parent={PARENT}
        badge={<StatusBadge status={chainStatusDisplay(chain.status)} />}
        description="Each block waits until all deployments of the block before it have succeeded."
      />
      <ChainColumns chain={chain} />
      <Section title="Details">
        <DetailList
          items={[
            ["Created", <RelativeTime key="created" at={chain.createdAt} />],
            ["If a deployment fails", chainFailureText(chain.onFailure)],
            ["Duration", <Duration key="duration" from={chain.createdAt} until={chain.completedAt} />],
            ["ID", <CopyText key="id" text={chain.id} label="ID" />],
          ]}
        />
      </Section>
    </Stack>
  );
}
