// Asks the piped to deploy an application's head commit, by the strategy of one's choice.

import { IconRefresh } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";

import { web } from "../api";
import { triggeredDeployment, useAsk } from "../commands";
import type { Application } from "../schema/model/application_pb";
import { SyncStrategy } from "../schema/model/strategy_pb";
import { strategyName } from "../words";
import { SplitButton } from "./split-button";

const HINTS: Record<SyncStrategy, string> = {
  [SyncStrategy.AUTO]: "The planner chooses between quick sync and the pipeline, as for a commit.",
  [SyncStrategy.QUICK_SYNC]: "At once, without the stages of the pipeline.",
  [SyncStrategy.PIPELINE]: "Every stage of the pipeline, whatever has changed.",
};

export function SyncButton({ application }: { application: Application }) {
  const ask = useAsk();
  const syncing = useMutation({
    mutationFn: (strategy: SyncStrategy) =>
      ask({
        send: () => web.syncApplication({ applicationId: application.id, syncStrategy: strategy }),
        title: `${strategyName(strategy)} of ${application.name}`,
        done: triggeredDeployment,
      }),
  });
  const choice = (strategy: SyncStrategy) => ({
    text: strategyName(strategy),
    hint: HINTS[strategy],
    act: () => syncing.mutate(strategy),
  });
  return (
    <SplitButton
      leftSection={<IconRefresh size={16} aria-hidden />}
      loading={syncing.isPending}
      disabled={application.disabled}
      menu="Choose how to sync"
      first={choice(SyncStrategy.AUTO)}
      others={[choice(SyncStrategy.QUICK_SYNC), choice(SyncStrategy.PIPELINE)]}
    />
  );
}
