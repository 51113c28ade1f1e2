// The signed-in user, and the button that signs out.

import { Avatar, Menu, UnstyledButton, VisuallyHidden } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useState } from "react";
import { Link } from "react-router";

import { NotificationsDialog } from "../features/notifications/notifications-dialog";
import { IconBell, IconBrowser, IconLogout } from "../icons";
import type { GetMeResponse } from "../schema/web/project_pb";
import { useSession } from "../session";

export function UserMenu({ me }: { me: GetMeResponse }) {
  const [opened, setOpened] = useState(false);
  const session = useSession();
  const signOut = async () => {
    const problem = await session.signOut();
    if (problem) notifications.show({ title: "Sign out", message: problem, color: "red", autoClose: false });
  };
  return (
    <>
      <Menu position="bottom-end" width={220}>
        <Menu.Target>
          <UnstyledButton style={{ borderRadius: "50%" }}>
            <Avatar
              src={me.avatarUrl || null}
              name={me.subject}
              aria-hidden
              color="cobalt"
              variant="filled"
              size={32}
              imageProps={{ referrerPolicy: "no-referrer" }}
            />
            <VisuallyHidden>Signed in as {me.subject}</VisuallyHidden>
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>
            {me.subject}, project {me.projectId}
          </Menu.Label>
          <Menu.Item leftSection={<IconBell size={16} aria-hidden />} onClick={() => setOpened(true)}>
            Browser notifications…
          </Menu.Item>
          <Menu.Item component={Link} to="/sessions" leftSection={<IconBrowser size={16} aria-hidden />}>
            Sessions
          </Menu.Item>
          <Menu.Item leftSection={<IconLogout size={16} aria-hidden />} onClick={() => void signOut()}>
            Sign out
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <NotificationsDialog projectId={me.projectId} opened={opened} close={() => setOpened(false)} />
    </>
  );
}
