// The actions on an application: encrypt a secret, enable, disable, delete.

import { ActionIcon, Text } from "@mantine/core";
import { IconDots, IconLock, IconPlayerPause, IconPlayerPlay, IconTrash } from "../icons";
import { useState } from "react";
import { useNavigate } from "react-router";

import { webClient } from "../api";
import { useChange } from "../changes";
import { key } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";
import { ActionMenu, type MenuAction } from "./action-menu";
import { EncryptSecretDialog } from "./encrypt-secret-dialog";

export function ApplicationActions({ application }: { application: Application }) {
  const [encrypting, setEncrypting] = useState(false);
  const navigate = useNavigate();
  const may = useMay();
  const request = { applicationId: application.id };
  const stale = [key.application(application.id), key.applications];
  const enable = useChange(() => webClient.enableApplication(request), stale);
  const disable = useChange(() => webClient.disableApplication(request), stale);
  const remove = useChange(() => webClient.deleteApplication(request), stale, () => navigate("/applications"));
  const actions: MenuAction[] = [
    {
      text: "Encrypt secret",
      Icon: IconLock,
      hidden: !may(WebService.method.generateApplicationSealedSecret),
      onSelect: () => setEncrypting(true),
    },
    {
      text: "Enable",
      Icon: IconPlayerPlay,
      hidden: !application.disabled || !may(WebService.method.enableApplication, application),
      confirmation: {
        title: `Enable ${application.name}?`,
        consequences: "The piped compares the application with Git again and deploys commits made in the meantime.",
        verb: "Enable",
        run: () => enable.mutateAsync(),
      },
    },
    {
      text: "Disable",
      Icon: IconPlayerPause,
      hidden: application.disabled || !may(WebService.method.disableApplication, application),
      confirmation: {
        title: `Disable ${application.name}?`,
        consequences: "New commits are not deployed until it is enabled again. Running resources are not affected.",
        verb: "Disable",
        run: () => disable.mutateAsync(),
      },
    },
    {
      text: "Delete",
      Icon: IconTrash,
      color: "red",
      hidden: !may(WebService.method.deleteApplication, application),
      confirmation: {
        title: `Delete ${application.name}?`,
        consequences: (
          <>
            The application is removed from PipeCD. Its past deployments remain accessible by their links.{" "}
            <Text span fw={600} inherit>
              The resources it deployed are not deleted
            </Text>{" "}
            and keep running.
          </>
        ),
        verb: "Delete",
        dangerous: true,
        run: () => remove.mutateAsync(),
      },
    },
  ];
  return (
    <>
      <ActionMenu
        target={
          <ActionIcon variant="default" size={36} aria-label="More actions">
            <IconDots size={18} aria-hidden />
          </ActionIcon>
        }
        actions={actions}
      />
      <EncryptSecretDialog application={application} opened={encrypting} close={() => setEncrypting(false)} />
    </>
  );
}
