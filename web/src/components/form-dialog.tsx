// A dialog with a form, whose submission is a change that may fail.

import { Alert, Button, Group, Modal, Stack } from "@mantine/core";
import type { FormEvent, ReactNode } from "react";

import { errorMessage } from "../api";

export interface DialogProps {
  opened: boolean;
  close: () => void;
}

interface FormDialogProps extends DialogProps {
  title: string;
  /** Text of the submitting button. */
  verb: string;
  disabled?: boolean;
  change: { mutate: () => void; reset: () => void; isPending: boolean; error: unknown };
  children: ReactNode;
}

export function FormDialog({ title, verb, disabled = false, change, opened, close, children }: FormDialogProps) {
  const submit = (event: FormEvent) => {
    event.preventDefault();
    change.mutate();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      size="lg"
      onExitTransitionEnd={change.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack gap="md">
          {children}
          <Problem error={change.error} />
          <Group justify="flex-end">
            <Button type="submit" loading={change.isPending} disabled={disabled}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** Why a change failed. */
export function Problem({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <Alert color="red" role="alert">
      {error instanceof SyntaxError ? error.message : errorMessage(error)}
    </Alert>
  );
}
