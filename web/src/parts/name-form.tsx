// A dialog that makes something with a name: an agent, a key.

import { Alert, Button, Group, Modal, Stack, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";

import { sentence } from "../api";

interface NameFormProps {
  title: string;
  /** What a good name says. */
  hint: string;
  /** What the button says: a verb. */
  verb: string;
  make: (name: string) => Promise<unknown>;
  opened: boolean;
  close: () => void;
  /** Fields below the name. */
  children?: ReactNode;
}

export function NameForm({ title, hint, verb, make, opened, close, children }: NameFormProps) {
  const [name, setName] = useState("");
  const making = useMutation({
    mutationFn: () => make(name.trim()),
    onSuccess: () => {
      setName("");
      close();
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    making.mutate();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={title}
      onExitTransitionEnd={making.reset}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack gap="md">
          <TextInput
            label="Name"
            description={hint}
            required
            value={name}
            onChange={(event) => setName(event.currentTarget.value)}
            data-autofocus
          />
          {children}
          {making.isError && (
            <Alert color="red" role="alert">
              {sentence(making.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button type="submit" loading={making.isPending} disabled={!name.trim()}>
              {verb}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
