// Asks the piped to deploy the head commit of an application with the selected strategy.

import { IconRefresh } from "../icons";

import { useSync } from "../commands";
import { strategyName } from "../display-names";
import type { Application } from "../schema/model/application_pb";
import { SyncStrategy } from "../schema/model/strategy_pb";
import { WebService } from "../schema/web/service_pb";
import { syncObstacle } from "../features/pin/pin";
import { useMay } from "../use-may";
import { SplitButton } from "./split-button";
import { useNow } from "./time";

const HINTS: Record<SyncStrategy, string> = {
  [SyncStrategy.AUTO]: "The planner selects quick sync or pipeline sync, as for a commit.",
  [SyncStrategy.QUICK_SYNC]: "Applies all changes at once, without the stages of the pipeline.",
  [SyncStrategy.PIPELINE]: "Runs every stage of the pipeline, regardless of the changes.",
};

export function SyncButton({ application }: { application: Application }) {
  const syncing = useSync(application.id, (strategy) => `${strategyName(strategy)} of ${application.name}`);
  const may = useMay();
  const blocked = syncObstacle(application, useNow());
  const option = (strategy: SyncStrategy) => ({
    text: strategyName(strategy),
    hint: HINTS[strategy],
    onSelect: () => syncing.mutate(strategy),
  });
  if (!may(WebService.method.syncApplication, application)) return null;
  return (
    <SplitButton
      leftSection={<IconRefresh size={16} aria-hidden />}
      loading={syncing.isPending}
      blocked={blocked}
      menuLabel="Sync options"
      primary={option(SyncStrategy.AUTO)}
      others={[option(SyncStrategy.QUICK_SYNC), option(SyncStrategy.PIPELINE)]}
    />
  );
}
