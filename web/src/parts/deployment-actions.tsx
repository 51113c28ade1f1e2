// What people may ask of a deployment under way: cancel it, approve or skip the stage that waits.

import { Button } from "@mantine/core";
import { IconCheck, IconPlayerSkipForward, IconX } from "@tabler/icons-react";
import { useMutation, useQuery } from "@tanstack/react-query";

import { web } from "../api";
import { useAsk } from "../commands";
import { meQuery } from "../queries";
import type { Deployment } from "../schema/model/deployment_pb";
import type { PipelineStage } from "../schema/model/stage_pb";
import { approvers, mayApprove, maySkip } from "../stages";
import { Confirm, useQuestion } from "./confirm";
import { SplitButton } from "./split-button";

type Way = "plain" | "rollback" | "no rollback";

const WAYS: Record<Way, { text: string; hint: string; force: { forceRollback?: true; forceNoRollback?: true } }> = {
  plain: { text: "Cancel", hint: "Stops it; rolls back if the application is configured so.", force: {} },
  rollback: {
    text: "Cancel and roll back",
    hint: "Stops it and brings back what ran before.",
    force: { forceRollback: true },
  },
  "no rollback": {
    text: "Cancel without rollback",
    hint: "Stops it and leaves everything as it is at that moment.",
    force: { forceNoRollback: true },
  },
};

export function CancelButton({ deployment }: { deployment: Deployment }) {
  const ask = useAsk();
  const question = useQuestion<Way>();
  const choice = (way: Way) => ({ text: WAYS[way].text, hint: WAYS[way].hint, act: () => question.ask(way) });
  return (
    <>
      <SplitButton
        leftSection={<IconX size={16} aria-hidden />}
        variant="default"
        menu="Choose how to cancel"
        first={choice("plain")}
        others={[choice("rollback"), choice("no rollback")]}
      />
      {(Object.keys(WAYS) as Way[]).map((way) => (
        <Confirm
          key={way}
          title={`${WAYS[way].text}?`}
          verb={WAYS[way].text}
          dangerous
          opened={question.isOpen(way)}
          close={question.close}
          act={() =>
            ask({
              send: () => web.cancelDeployment({ deploymentId: deployment.id, ...WAYS[way].force }),
              title: `Cancel the deployment of ${deployment.applicationName}`,
              done: () => "It was cancelled.",
            })
          }
        >
          {WAYS[way].hint}
        </Confirm>
      ))}
    </>
  );
}

export function StageActions({ deployment, stage }: { deployment: Deployment; stage: PipelineStage }) {
  const ask = useAsk();
  const me = useQuery(meQuery);
  const target = { deploymentId: deployment.id, stageId: stage.id };
  const approve = useMutation({
    mutationFn: () =>
      ask({
        send: () => web.approveStage(target),
        title: `Approve ${stage.name} of ${deployment.applicationName}`,
        done: () => "Approved.",
      }),
  });
  const skip = useMutation({
    mutationFn: () =>
      ask({
        send: () => web.skipStage(target),
        title: `Skip ${stage.name} of ${deployment.applicationName}`,
        done: () => "Skipped.",
      }),
  });
  const named = approvers(stage);
  const allowed = named.length === 0 || named.includes(me.data?.subject ?? "");
  return (
    <>
      {mayApprove(stage) && (
        <Button
          size="xs"
          color="green"
          leftSection={<IconCheck size={15} aria-hidden />}
          loading={approve.isPending}
          disabled={!allowed}
          title={allowed ? undefined : `Only ${named.join(", ")} may approve`}
          onClick={() => approve.mutate()}
        >
          Approve
        </Button>
      )}
      {maySkip(stage) && (
        <Button
          size="xs"
          variant="default"
          leftSection={<IconPlayerSkipForward size={15} aria-hidden />}
          loading={skip.isPending}
          onClick={() => skip.mutate()}
        >
          Skip
        </Button>
      )}
    </>
  );
}
