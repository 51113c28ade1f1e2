// A key that was just made. It cannot be shown again, so nothing closes it by accident.

import { Alert, Button, Group, Modal, Stack } from "@mantine/core";
import type { ReactNode } from "react";

interface ShownOnceProps {
  title: string;
  /** What follows from losing it. */
  loss: string;
  close: () => void;
  children: ReactNode;
}

export function ShownOnce({ title, loss, close, children }: ShownOnceProps) {
  return (
    <Modal
      opened
      onClose={close}
      title={title}
      size="lg"
      closeOnClickOutside={false}
      closeOnEscape={false}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="md">
        <Alert color="orange" variant="light" title="It is shown this once">
          Only its hash is stored. Copy it now to a safe place; {loss}
        </Alert>
        {children}
        <Group justify="flex-end">
          <Button onClick={close}>I have copied it</Button>
        </Group>
      </Stack>
    </Modal>
  );
}
