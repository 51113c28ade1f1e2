// The actions on a piped: enable, disable, add a key, delete the old key, upgrade, restart.

import { ActionIcon } from "@mantine/core";
import {
  IconCircleArrowUp,
  IconDots,
  IconKey,
  IconPlayerPause,
  IconPlayerPlay,
  IconPower,
  IconSend,
  IconTrash,
} from "../icons";
import { useState } from "react";

import { webClient } from "../api";
import { useChange } from "../changes";
import { useSendCommand } from "../commands";
import { ReceiversDialog } from "../features/receivers/receivers-dialog";
import { key } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { ConsoleService } from "../schema/pipecd/v1/console_pb";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";
import { ActionMenu, type MenuAction } from "./action-menu";

export interface PipedActionsProps {
  piped: Piped;
  onKeyCreated: (keyText: string) => void;
  onUpgrade: () => void;
}

export function PipedActions({ piped, onKeyCreated, onUpgrade }: PipedActionsProps) {
  const sendCommand = useSendCommand();
  const may = useMay();
  const request = { pipedId: piped.id };
  const stale = [key.pipeds];
  const enable = useChange(() => webClient.enablePiped(request), stale);
  const disable = useChange(() => webClient.disablePiped(request), stale);
  const deleteOldKeys = useChange(() => webClient.deleteOldPipedKeys(request), stale);
  // The key is shown at once: it cannot be read again.
  const addKey = useChange(async () => onKeyCreated((await webClient.recreatePipedKey({ id: piped.id })).key), stale);
  const [receiversOpened, setReceiversOpened] = useState(false);
  const openReceivers = () => setReceiversOpened(true);
  const closeReceivers = () => setReceiversOpened(false);
  const hasTwoKeys = piped.keys.length > 1;
  const restart = () =>
    sendCommand({
      send: () => webClient.restartPiped(request),
      title: `Restart ${piped.name}`,
      successMessage: () => "The piped is restarting.",
    });
  const actions: MenuAction[] = [
    {
      text: "Enable",
      Icon: IconPlayerPlay,
      hidden: !piped.disabled || !may(WebService.method.enablePiped),
      confirmation: {
        title: `Enable ${piped.name}?`,
        consequences: "The piped can connect again and resumes its work.",
        verb: "Enable",
        run: () => enable.mutateAsync(),
      },
    },
    {
      text: "Disable",
      Icon: IconPlayerPause,
      hidden: piped.disabled || !may(WebService.method.disablePiped),
      confirmation: {
        title: `Disable ${piped.name}?`,
        consequences:
          "The piped is rejected immediately and deploys nothing until it is enabled. Running resources are not affected.",
        verb: "Disable",
        dangerous: true,
        run: () => disable.mutateAsync(),
      },
    },
    {
      text: "Add key",
      Icon: IconKey,
      hidden: !may(WebService.method.recreatePipedKey),
      blocked: hasTwoKeys ? "It has two keys, the most that a piped can have." : "",
      confirmation: {
        title: `Add a key for ${piped.name}?`,
        consequences:
          "Both keys are valid until the old one is deleted. Give the piped the new key, restart it, then delete the old key.",
        verb: "Create key",
        run: () => addKey.mutateAsync(),
      },
    },
    {
      text: "Delete old key",
      Icon: IconTrash,
      hidden: !may(WebService.method.deleteOldPipedKeys),
      blocked: hasTwoKeys ? "" : "It has only one key. Add another one first.",
      confirmation: {
        title: `Delete the old key of ${piped.name}?`,
        consequences: "Only the newest key remains valid. A piped that still uses the old key is rejected immediately.",
        verb: "Delete",
        dangerous: true,
        run: () => deleteOldKeys.mutateAsync(),
      },
    },
    {
      text: "Notifications",
      Icon: IconSend,
      hidden: !may(ConsoleService.method.listReceivers),
      onSelect: openReceivers,
    },
    {
      text: "Upgrade",
      Icon: IconCircleArrowUp,
      hidden: !may(WebService.method.updatePipedDesiredVersion),
      onSelect: onUpgrade,
    },
    {
      text: "Restart",
      Icon: IconPower,
      hidden: !may(WebService.method.restartPiped),
      blocked: piped.disabled ? "The piped is disabled." : "",
      confirmation: {
        title: `Restart ${piped.name}?`,
        consequences:
          "The piped shuts down gracefully, and its supervisor restarts it. Running deployments continue afterwards.",
        verb: "Restart",
        run: restart,
      },
    },
  ];
  return (
    <>
      <ReceiversDialog piped={piped} opened={receiversOpened} close={closeReceivers} />
      <ActionMenu
        target={
          <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${piped.name}`}>
            <IconDots size={18} aria-hidden />
          </ActionIcon>
        }
        actions={actions}
      />
    </>
  );
}
