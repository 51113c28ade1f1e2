// A dialog that creates a named record: a piped or an API key.

import { TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { type DialogProps, FormDialog } from "./form-dialog";

interface CreateDialogProps extends DialogProps {
  title: string;
  /** Description of the name field. */
  nameHint: string;
  /** Text of the submit button. */
  verb: string;
  create: (name: string) => Promise<unknown>;
  /** Fields below the name. */
  children?: ReactNode;
}

export function CreateDialog({ nameHint, create, close, children, ...dialog }: CreateDialogProps) {
  const [name, setName] = useState("");
  const change = useMutation({
    mutationFn: () => create(name.trim()),
    onSuccess: () => {
      setName("");
      close();
    },
  });
  return (
    <FormDialog {...dialog} size="md" close={close} change={change} disabled={!name.trim()}>
      <TextInput
        label="Name"
        description={nameHint}
        required
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        data-autofocus
      />
      {children}
    </FormDialog>
  );
}
