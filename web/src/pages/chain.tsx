// A deployment chain: a column for each block with its applications and their deployments.

import { Stack } from "@mantine/core";
import { useParams } from "react-router";

import { ChainColumns } from "../components/chain";
import { CopyText } from "../components/copy";
import { DetailList } from "../components/detail-list";
import { PageHeader } from "../components/page-header";
import { RecordPage } from "../components/record-page";
import { Section } from "../components/section";
import { StatusBadge } from "../components/status";
import { Duration, RelativeTime } from "../components/time";
import { chainFailureText, chainStatusDisplay } from "../display-names";
import { chainQuery } from "../queries";
import type { DeploymentChain } from "../schema/model/chain_pb";

const PARENT = { text: "Chains", to: "/chains" };

export function ChainPage() {
  const { id = "" } = useParams();
  return (
    <RecordPage noun="chain" id={id} query={chainQuery(id)} parent={PARENT} height={420}>
      {(chain) => <ChainDetails chain={chain} />}
    </RecordPage>
  );
}

function ChainDetails({ chain }: { chain: DeploymentChain }) {
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
