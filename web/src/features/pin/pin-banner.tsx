// On the page of a pinned application: by whom, why and until when it is pinned, and which commits are held.

import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { Link } from "react-router";

import { consoleClient } from "../../api";
import { useChange } from "../../changes";
import { CommitHash, CommitLine } from "../../components/commit";
import { ConfirmDialog, useDialog } from "../../components/confirm-dialog";
import { RelativeTime, useNow } from "../../components/time";
import { IconPin } from "../../icons";
import { key } from "../../queries";
import type { Application } from "../../schema/model/application_pb";
import { ConsoleService } from "../../schema/pipecd/v1/console_pb";
import { formatDateTime } from "../../time";
import { useMay } from "../../use-may";
import { activePin } from "./pin";

const COMMITS_SHOWN = 5;

export function PinBanner({ application }: { application: Application }) {
  const pin = activePin(application, useNow());
  const may = useMay();
  const dialog = useDialog<"unpin">();
  const unpin = useChange(() => consoleClient.unpin({ applicationId: application.id }), [key.application(application.id)]);
  return (
    <>
      {pin && (
        <Alert
          className="toned"
          data-tone="warning"
          icon={<IconPin size={18} aria-hidden />}
          title={`Pinned to ${pin.commitHash.slice(0, 7)} by ${pin.by}`}
        >
          <Stack gap="xs">
            {pin.reason && (
              <Text size="sm" className="quote">
                {pin.reason}
              </Text>
            )}
            <Text size="sm">
              A rollback to{" "}
              <Link to={`/deployments/${pin.deploymentId}`} className="underlined">
                an earlier deployment
              </Link>{" "}
              was requested <RelativeTime at={pin.createdAt} />. {until(pin.until)}
            </Text>
            {pin.heldCommits.length > 0 && (
              <div>
                <Text size="sm" fw={600}>
                  Newer commits that are not deployed
                </Text>
                <ul role="list" className="plain" aria-label="Held commits">
                  {pin.heldCommits.slice(0, COMMITS_SHOWN).map((commit) => (
                    <li key={commit.hash}>
                      <Text size="sm" truncate>
                        <CommitLine commit={commit} />{" "}
                        <Text span size="sm" className="faint">
                          by {commit.author.replace(/ <.*/, "")}
                        </Text>
                      </Text>
                    </li>
                  ))}
                </ul>
                {pin.heldCommits.length > COMMITS_SHOWN && (
                  <Text size="sm" className="faint">
                    and {pin.heldCommits.length - COMMITS_SHOWN} more, up to{" "}
                    <CommitHash hash={pin.heldCommits.at(-1)?.hash ?? ""} url={pin.heldCommits.at(-1)?.url} />
                  </Text>
                )}
              </div>
            )}
            {may(ConsoleService.method.unpin, application) && (
              <Group gap="xs">
                <Button size="compact-sm" variant="default" onClick={() => dialog.open("unpin")}>
                  Remove pin
                </Button>
              </Group>
            )}
          </Stack>
        </Alert>
      )}
      <ConfirmDialog
        title={`Remove the pin of ${application.name}?`}
        verb="Remove pin"
        opened={dialog.isOpen("unpin")}
        close={dialog.close}
        run={() => unpin.mutateAsync()}
      >
        {pin && pin.heldCommits.length > 0
          ? "The newest commit is deployed, and later commits again as they are pushed."
          : "Later commits are deployed again as they are pushed, and drift is corrected if the application configures it."}
      </ConfirmDialog>
    </>
  );
}

const until = (at: bigint): string =>
  at === 0n
    ? "Neither commits nor drift trigger a deployment until the pin is removed."
    : `Neither commits nor drift trigger a deployment until ${formatDateTime(Number(at))}.`;
