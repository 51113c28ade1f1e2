// A dialog that creates a named record: a piped or an API key.

import { Alert, Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";

import { errorMessage } from "../api";

interface CreateDialogProps {
  title: string;
  /** Description of the name field. */
  nameHint: string;
  /** Text of the submit button. */
  verb: string;
  create: (name: string) => Promise<unknown>;
  opened: boolean;
  close: () => void;
  /** Fields below the name. */
  children?: ReactNode;
}

export function CreateDialog({ title, nameHint, verb, create, opened, close, children }: CreateDialogProps) {
  const [name, setName] = useState("");
  const mutation = useMutation({
    mutationFn: () => create(name.trim()),
    onSuccess: () => {
      setName("");
      close();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      onExitTransitionEnd={mutation.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack gap="md">
          <TextInput
            label="Name"
            description={nameHint}
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
          />
          {children}
          {mutation.isError && (
            <Alert color="red" role="alert">
              {errorMessage(mutation.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button type="submit" loading={mutation.isPending} disabled={!name.trim()}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
