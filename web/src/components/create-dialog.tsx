// A dialog that creates a named record: a piped or an API key.

import { TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";

import { fieldErrors } from "../field-errors";
import { type DialogProps, FormDialog } from "./form-dialog";

const FIELDS = { name: "name", desc: "desc", role: "role", lifetime: "key_lifetime" };

interface CreateDialogProps extends DialogProps {
  title: string;
  /** Description of the name field. */
  nameHint: string;
  /** Text of the submit button. */
  verb: string;
  create: (name: string) => Promise<unknown>;
  /** Fields below the name; they get their errors. */
  children?: (errors: Partial<Record<keyof typeof FIELDS, string>>) => ReactNode;
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
  const errors = fieldErrors(change.error, FIELDS);
  return (
    <FormDialog {...dialog} size="md" close={close} change={change} error={errors.other} disabled={!name.trim()}>
      <TextInput
        label="Name"
        description={nameHint}
        required
        value={name}
        onChange={(event) => setName(event.currentTarget.value)}
        error={errors.at.name}
        data-autofocus
      />
      {children?.(errors.at)}
    </FormDialog>
  );
}
