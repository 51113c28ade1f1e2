// A dialog with a form: fields, the error of the last attempt, and one button that submits it.

import { Alert, Button, Group, Modal, Stack } from "@mantine/core";
import type { FormEvent, ReactNode } from "react";

import { formErrorMessage, useFocusOnError } from "../field-errors";

export interface DialogProps {
  opened: boolean;
  close: () => void;
}

interface FormDialogProps extends DialogProps {
  title: string;
  /** Text of the submit button. */
  verb: string;
  disabled?: boolean;
  change: { mutate: () => void; isPending: boolean; error: unknown; reset: () => void };
  /** The error that no field shows; by default the one of `change`. */
  error?: unknown;
  size?: string;
  children: ReactNode;
}

export function FormDialog({
  title,
  verb,
  disabled = false,
  change,
  error = change.error,
  size = "lg",
  opened,
  close,
  children,
}: FormDialogProps) {
  const form = useFocusOnError(change.error);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    change.mutate();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      size={size}
      onExitTransitionEnd={change.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {/* The control plane checks the fields: its errors stand at them, in the console's words. */}
      <form ref={form} onSubmit={submit} noValidate>
        <Stack gap="md">
          {children}
          <Problem error={error} />
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={change.isPending} disabled={disabled}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** The error of a form; nothing if there is none. */
export function Problem({ error }: { error: unknown }) {
  if (!error) return null;
  return (
    <Alert color="red" role="alert">
      {formErrorMessage(error)}
    </Alert>
  );
}
