// Asks for confirmation before an action that cannot be undone by the next click.

import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { errorMessage } from "../api";

interface ConfirmDialogProps {
  title: string;
  /** What the action does. */
  children: ReactNode;
  /** Text of the confirming button. */
  verb: string;
  /** Text of the button that closes the dialog without running the action. */
  dismissText?: string;
  dangerous?: boolean;
  run: () => Promise<unknown>;
  opened: boolean;
  close: () => void;
}

export function ConfirmDialog({
  title,
  children,
  verb,
  dismissText = "Cancel",
  dangerous = false,
  run,
  opened,
  close,
}: ConfirmDialogProps) {
  const mutation = useMutation({ mutationFn: run, onSuccess: close });
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      onExitTransitionEnd={mutation.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="md">
        <Text component="div" size="sm">
          {children}
        </Text>
        {mutation.isError && (
          <Alert color="red" role="alert">
            {errorMessage(mutation.error)}
          </Alert>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            {dismissText}
          </Button>
          <Button
            color={dangerous ? "red" : undefined}
            loading={mutation.isPending}
            onClick={() => mutation.mutate()}
            data-autofocus
          >
            {verb}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

/** Tracks which of several dialogs is open, if any. */
export function useDialog<Name extends string>() {
  const [openName, setOpenName] = useState<Name | null>(null);
  return { isOpen: (name: Name) => openName === name, open: setOpenName, close: () => setOpenName(null) };
}
