// Encrypts a secret for the piped of an application. The result can be committed to Git.

import { Alert, Button, Checkbox, Group, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { webClient } from "../api";
import { fieldErrors, useFocusOnError } from "../field-errors";
import { pipedsQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { CopyBlock } from "./copy";
import { Problem } from "./form-dialog";

interface EncryptSecretDialogProps {
  application: Application;
  opened: boolean;
  close: () => void;
}

export function EncryptSecretDialog({ application, opened, close }: EncryptSecretDialogProps) {
  const pipeds = useQuery(pipedsQuery);
  const piped = pipeds.data?.find((candidate) => candidate.id === application.pipedId);
  const canEncrypt = !piped || piped.secretEncryption?.type === "KEY_PAIR";
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={`Encrypt a secret for ${application.name}`}
      size="lg"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {canEncrypt ? (
        <Form application={application} pipedName={piped?.name ?? "its piped"} close={close} />
      ) : (
        <Alert color="orange" variant="light" title={`${piped.name} has no key pair`}>
          Add spec.secretManagement to its configuration and restart it to enable secret encryption.
        </Alert>
      )}
    </Modal>
  );
}

function Form({ application, pipedName, close }: { application: Application; pipedName: string; close: () => void }) {
  const [name, setName] = useState("password");
  const [secret, setSecret] = useState("");
  const [encode, setEncode] = useState(false);
  const mutation = useMutation({
    mutationFn: () =>
      webClient.generateApplicationSealedSecret({
        pipedId: application.pipedId,
        data: secret,
        base64Encoding: encode,
      }),
    // Do not leave the plain text on screen.
    onSuccess: () => setSecret(""),
    gcTime: 0,
  });
  const errors = fieldErrors(mutation.error, { secret: "data" });
  const form = useFocusOnError(mutation.error);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutation.mutate();
  };
  const encrypted = mutation.data?.data;
  return (
    <form ref={form} onSubmit={submit} autoComplete="off">
      <Stack gap="md">
        <Text size="sm">
          Only {pipedName} can decrypt the result. It is not stored: copy it to the application’s configuration file.
        </Text>
        <TextInput
          label="Name"
          description="The name by which files reference the secret."
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          pattern="[A-Za-z_][A-Za-z0-9_]*"
          title="Letters, digits and underscores, not starting with a digit"
          required
        />
        <Textarea
          label="Secret"
          value={secret}
          error={errors.at.secret}
          onChange={(event) => setSecret(event.currentTarget.value)}
          autosize
          minRows={2}
          maxRows={12}
          spellCheck={false}
          required={!encrypted}
          data-autofocus
        />
        <Checkbox
          label="Encode with Base64 before encryption"
          description="Required for the data of a Kubernetes Secret. In other files, decode it with | b64dec."
          checked={encode}
          onChange={(event) => setEncode(event.currentTarget.checked)}
        />
        <Problem error={errors.other} />
        {encrypted && <CopyBlock label="Encrypted secret" text={configSnippet(name, encrypted)} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Close
          </Button>
          <Button type="submit" loading={mutation.isPending} disabled={secret === ""}>
            Encrypt
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const configSnippet = (name: string, encrypted: string) =>
  `spec:
  encryption:
    encryptedSecrets:
      ${name}: ${encrypted}
    decryptionTargets:
      - the-file-that-uses-it.yaml   # as {{ .encryptedSecrets.${name} }}
`;
