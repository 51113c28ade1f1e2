// The deployment chains of the project, newest first.

import { Anchor, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link, useSearchParams } from "react-router";

import { ChainPath } from "../components/chain";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import { RelativeTime } from "../components/time";
import { chainStatusDisplay } from "../display-names";
import { chainsQuery } from "../queries";

export function ChainsPage() {
  return (
    <Stack gap="lg">
      <PageHeader title="Chains" />
      <ChainList />
    </Stack>
  );
}

function ChainList() {
  const [params] = useSearchParams();
  const page = useQuery(chainsQuery(params.get("after") ?? ""));
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading chains" />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The chains could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { deploymentChains, cursor } = page.data;
  if (deploymentChains.length === 0) {
    return (
      <EmptyState title="No deployment chains">
        A chain deploys other applications after one has succeeded: <code>postSync.chain</code> in its configuration.
      </EmptyState>
    );
  }
  return (
    <Stack gap="md" aria-busy={page.isPlaceholderData}>
      {deploymentChains.map((chain) => {
        const first = chain.blocks[0]?.nodes[0]?.applicationRef?.applicationName ?? "";
        return (
          <Section key={chain.id} title={`Chain of ${first}`} aside={<StatusBadge status={chainStatusDisplay(chain.status)} />}>
            <Stack gap="xs">
              <ChainPath chain={chain} />
              <Text size="sm" className="faint">
                <Anchor component={Link} to={`/chains/${chain.id}`} inherit underline="always" aria-label={`Open the chain of ${first}`}>
                  Open
                </Anchor>{" "}
                · created <RelativeTime at={chain.createdAt} />
              </Text>
            </Stack>
          </Section>
        );
      })}
      <Pagination nextCursor={cursor} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
    </Stack>
  );
}
