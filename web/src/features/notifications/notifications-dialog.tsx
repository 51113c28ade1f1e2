// The settings of notifications in this browser. The browser asks for permission when they are turned on.

import { Alert, Checkbox, Modal, Stack, Switch, Text } from "@mantine/core";

import { type Permission, requestPermission, usePermission } from "./browser";
import { ALL_NOTICES, type NoticeSettings } from "./notices";
import { useNoticeSettings } from "./use-notices";

const KINDS: readonly { name: keyof NoticeSettings; label: string; description: string }[] = [
  {
    name: "approvals",
    label: "Approvals",
    description: "A deployment waits for an approval that you may give.",
  },
  {
    name: "own",
    label: "Your deployments",
    description: "A deployment that you triggered, with a sync or a commit, has succeeded, failed or was cancelled.",
  },
  {
    name: "favourites",
    label: "Favourite applications",
    description: "A deployment of an application with a star has succeeded, failed or was cancelled.",
  },
];

/** Why there are no notifications although they are turned on or could be. */
const OBSTACLES: Partial<Record<Permission, string>> = {
  denied: "This browser blocks notifications of this page. Allow them in the browser's settings for this page, then turn them on here.",
  unsupported: "This browser shows no notifications of this page. They need a page that was loaded over HTTPS.",
};

interface NotificationsDialogProps {
  projectId: string;
  opened: boolean;
  close: () => void;
}

export function NotificationsDialog({ projectId, opened, close }: NotificationsDialogProps) {
  const permission = usePermission();
  const [settings, setSettings] = useNoticeSettings(projectId);
  const obstacle = OBSTACLES[permission];
  const on = settings !== null && permission === "granted";
  const turn = async (value: boolean) => {
    if (!value) setSettings(null);
    else if ((await requestPermission()) === "granted") setSettings(settings ?? ALL_NOTICES);
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title="Browser notifications"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="md">
        <Switch
          label="Notify me in this browser"
          description="While a tab of the console is open, also in the background."
          checked={on}
          disabled={obstacle !== undefined}
          onChange={(event) => void turn(event.currentTarget.checked)}
        />
        {obstacle && (
          <Alert className="toned" data-tone="warning" role="status">
            {obstacle}
          </Alert>
        )}
        {KINDS.map(({ name, label, description }) => (
          <Checkbox
            key={name}
            label={label}
            description={description}
            disabled={!on}
            checked={on && settings[name]}
            onChange={(event) => settings && setSettings({ ...settings, [name]: event.currentTarget.checked })}
          />
        ))}
        <Text size="xs" className="faint">
          Stored in this browser, for the project {projectId}.
        </Text>
      </Stack>
    </Modal>
  );
}
