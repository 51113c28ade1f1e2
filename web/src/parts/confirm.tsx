// Asks before something is done that is not undone by the next click.

import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { sentence } from "../api";

interface ConfirmProps {
  title: string;
  /** What follows from it. */
  children: ReactNode;
  /** What the button says: a verb. */
  verb: string;
  dangerous?: boolean;
  act: () => Promise<unknown>;
  opened: boolean;
  close: () => void;
}

export function Confirm({ title, children, verb, dangerous = false, act, opened, close }: ConfirmProps) {
  const doing = useMutation({ mutationFn: act, onSuccess: close });
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      onExitTransitionEnd={doing.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="md">
        <Text component="div" size="sm">
          {children}
        </Text>
        {doing.isError && (
          <Alert color="red" role="alert">
            {sentence(doing.error)}
          </Alert>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Keep as it is
          </Button>
          <Button color={dangerous ? "red" : undefined} loading={doing.isPending} onClick={() => doing.mutate()} data-autofocus>
            {verb}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}

/** Which of several questions is open, if any. */
export function useQuestion<Name extends string>() {
  const [open, setOpen] = useState<Name | null>(null);
  return { isOpen: (name: Name) => open === name, ask: setOpen, close: () => setOpen(null) };
}
