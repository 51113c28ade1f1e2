// Seals secrets for an application; enables, disables or deletes it, after asking.

import { ActionIcon, Menu, Text } from "@mantine/core";
import { IconDots, IconLock, IconPlayerPause, IconPlayerPlay, IconTrash } from "@tabler/icons-react";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "react-router";

import { web } from "../api";
import { key } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { Confirm, useQuestion } from "./confirm";
import { SealSecret } from "./seal-secret";

export function ApplicationActions({ application }: { application: Application }) {
  const question = useQuestion<"seal" | "enable" | "disable" | "delete">();
  const client = useQueryClient();
  const navigate = useNavigate();
  const id = { applicationId: application.id };
  const refresh = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: key.application(application.id) }),
      client.invalidateQueries({ queryKey: key.applications }),
    ]);
  const remove = async () => {
    await web.deleteApplication(id);
    client.removeQueries({ queryKey: key.application(application.id) });
    await navigate("/applications");
  };
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={36} aria-label="More actions">
            <IconDots size={18} aria-hidden />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item leftSection={<IconLock size={16} aria-hidden />} onClick={() => question.ask("seal")}>
            Seal a secret
          </Menu.Item>
          {application.disabled ? (
            <Menu.Item leftSection={<IconPlayerPlay size={16} aria-hidden />} onClick={() => question.ask("enable")}>
              Enable
            </Menu.Item>
          ) : (
            <Menu.Item leftSection={<IconPlayerPause size={16} aria-hidden />} onClick={() => question.ask("disable")}>
              Disable
            </Menu.Item>
          )}
          <Menu.Item
            color="red"
            leftSection={<IconTrash size={16} aria-hidden />}
            onClick={() => question.ask("delete")}
          >
            Delete
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <SealSecret application={application} opened={question.isOpen("seal")} close={question.close} />
      <Confirm
        title={`Enable ${application.name}?`}
        verb="Enable"
        act={() => web.enableApplication(id).then(refresh)}
        opened={question.isOpen("enable")}
        close={question.close}
      >
        The piped compares it with Git again, and deploys what was committed since.
      </Confirm>
      <Confirm
        title={`Disable ${application.name}?`}
        verb="Disable"
        act={() => web.disableApplication(id).then(refresh)}
        opened={question.isOpen("disable")}
        close={question.close}
      >
        New commits will not be deployed until it is enabled again. What runs goes on running.
      </Confirm>
      <Confirm
        title={`Delete ${application.name}?`}
        verb="Delete"
        dangerous
        act={remove}
        opened={question.isOpen("delete")}
        close={question.close}
      >
        It disappears from PipeCD; its past deployments stay readable by their links. <Text span fw={600} inherit>
          What it deployed is not touched
        </Text>{" "}
        and goes on running.
      </Confirm>
    </>
  );
}
