// The signed-in user, and the logout button.

import { Avatar, Menu, UnstyledButton, VisuallyHidden } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { NotificationsDialog } from "../features/notifications/notifications-dialog";
import { IconBell, IconDeviceDesktop, IconLogout } from "../icons";
import type { GetMeResponse } from "../schema/web/project_pb";

export function UserMenu({ me }: { me: GetMeResponse }) {
  const [opened, setOpened] = useState(false);
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
          <Menu.Item component={Link} to="/sessions" leftSection={<IconDeviceDesktop size={16} aria-hidden />}>
            Sessions
          </Menu.Item>
          <form method="post" action="/auth/logout">
            {/* Without transitions, closing would remove the form before it is submitted. */}
            <Menu.Item type="submit" closeMenuOnClick={false} leftSection={<IconLogout size={16} aria-hidden />}>
              Log out
            </Menu.Item>
          </form>
        </Menu.Dropdown>
      </Menu>
      <NotificationsDialog projectId={me.projectId} opened={opened} close={() => setOpened(false)} />
    </>
  );
}
