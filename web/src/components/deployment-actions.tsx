// The actions on a running deployment: cancel it, skip its current stage. `ApprovalPanel` approves.

import { Button } from "@mantine/core";
import { IconPlayerSkipForward, IconX } from "../icons";

import { webClient } from "../api";
import { useCommand, useSendCommand } from "../commands";
import type { Deployment } from "../schema/model/deployment_pb";
import type { PipelineStage } from "../schema/model/stage_pb";
import { WebService } from "../schema/web/service_pb";
import { canSkip } from "../stages";
import { useMay } from "../use-may";
import { ConfirmDialog, useDialog } from "./confirm-dialog";
import { SplitButton } from "./split-button";

type CancelMode = "default" | "rollback" | "no-rollback";

interface CancelOption {
  text: string;
  hint: string;
  requestFields: { forceRollback?: true; forceNoRollback?: true };
}

const CANCEL_OPTIONS: Record<CancelMode, CancelOption> = {
  default: {
    text: "Cancel deployment",
    hint: "Stops the deployment. Rolls back if the application enables automatic rollback.",
    requestFields: {},
  },
  rollback: {
    text: "Cancel and roll back",
    hint: "Stops the deployment and restores the previous version.",
    requestFields: { forceRollback: true },
  },
  "no-rollback": {
    text: "Cancel without rollback",
    hint: "Stops the deployment and leaves all resources in their current state.",
    requestFields: { forceNoRollback: true },
  },
};

export function CancelButton({ deployment }: { deployment: Deployment }) {
  const sendCommand = useSendCommand();
  const dialog = useDialog<CancelMode>();
  const may = useMay();
  const option = (mode: CancelMode) => ({
    text: CANCEL_OPTIONS[mode].text,
    hint: CANCEL_OPTIONS[mode].hint,
    onSelect: () => dialog.open(mode),
  });
  if (!may(WebService.method.cancelDeployment, deployment)) return null;
  return (
    <>
      <SplitButton
        leftSection={<IconX size={16} aria-hidden />}
        variant="default"
        menuLabel="Cancel options"
        primary={option("default")}
        others={[option("rollback"), option("no-rollback")]}
      />
      {(Object.keys(CANCEL_OPTIONS) as CancelMode[]).map((mode) => (
        <ConfirmDialog
          key={mode}
          title={`${CANCEL_OPTIONS[mode].text}?`}
          verb={CANCEL_OPTIONS[mode].text}
          dismissText="Keep running"
          dangerous
          opened={dialog.isOpen(mode)}
          close={dialog.close}
          run={() =>
            sendCommand({
              send: () =>
                webClient.cancelDeployment({ deploymentId: deployment.id, ...CANCEL_OPTIONS[mode].requestFields }),
              title: `Cancel deployment of ${deployment.applicationName}`,
              successMessage: () => "The deployment was cancelled.",
            })
          }
        >
          {CANCEL_OPTIONS[mode].hint}
        </ConfirmDialog>
      ))}
    </>
  );
}

export function SkipButton({ deployment, stage }: { deployment: Deployment; stage: PipelineStage }) {
  const may = useMay();
  const skip = useCommand(() => ({
    send: () => webClient.skipStage({ deploymentId: deployment.id, stageId: stage.id }),
    title: `Skip ${stage.name} of ${deployment.applicationName}`,
    successMessage: () => "Skipped.",
  }));
  if (!canSkip(stage) || !may(WebService.method.skipStage, deployment)) return null;
  return (
    <Button
      size="xs"
      variant="default"
      leftSection={<IconPlayerSkipForward size={15} aria-hidden />}
      loading={skip.isPending}
      onClick={() => skip.mutate()}
    >
      Skip
    </Button>
  );
}
