// A tray in the header of a quickstart: opens the page with the notifications that were sent.

import { ActionIcon, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { IconInbox } from "../icons";
import { quickstartQuery } from "../queries";

export function InboxLink() {
  const { data } = useQuery(quickstartQuery);
  if (!data?.inbox) return null;
  return (
    <Tooltip label="Notifications that were sent">
      <ActionIcon
        component="a"
        href={data.inbox}
        target="_blank"
        rel="noreferrer"
        variant="subtle"
        color="gray"
        aria-label="Notifications that were sent"
      >
        <IconInbox size={18} aria-hidden />
      </ActionIcon>
    </Tooltip>
  );
}
