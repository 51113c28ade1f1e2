// Seals a secret for the piped of an application: what comes out may stand in Git.

import { Alert, Button, Checkbox, Group, Modal, Stack, Text, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { sentence, web } from "../api";
import { pipedsQuery } from "../queries";
import type { Application } from "../schema/model/application_pb";
import { CopyBlock } from "./copy";

interface SealProps {
  application: Application;
  opened: boolean;
  close: () => void;
}

export function SealSecret({ application, opened, close }: SealProps) {
  const pipeds = useQuery(pipedsQuery);
  const piped = pipeds.data?.find((each) => each.id === application.pipedId);
  const canSeal = !piped || piped.secretEncryption?.type === "KEY_PAIR";
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={`Seal a secret for ${application.name}`}
      size="lg"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {canSeal ? (
        <Form application={application} pipedName={piped?.name ?? "its piped"} close={close} />
      ) : (
        <Alert color="orange" variant="light" title={`${piped.name} has no key pair`}>
          Write spec.secretManagement into its configuration and start it again; then secrets can be sealed for it.
        </Alert>
      )}
    </Modal>
  );
}

function Form({ application, pipedName, close }: { application: Application; pipedName: string; close: () => void }) {
  const [name, setName] = useState("password");
  const [secret, setSecret] = useState("");
  const [encode, setEncode] = useState(false);
  const sealing = useMutation({
    mutationFn: () =>
      web.generateApplicationSealedSecret({ pipedId: application.pipedId, data: secret, base64Encoding: encode }),
    // What is sealed need not stay on the screen.
    onSuccess: () => setSecret(""),
    gcTime: 0,
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    sealing.mutate();
  };
  const sealed = sealing.data?.data;
  return (
    <form onSubmit={submit} autoComplete="off">
      <Stack gap="md">
        <Text size="sm">
          Only {pipedName} can open what is made here. Nothing of it is stored: copy it into the application’s file.
        </Text>
        <TextInput
          label="Name"
          description="What the files call it."
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          pattern="[A-Za-z_][A-Za-z0-9_]*"
          title="Letters, digits and _, beginning with a letter"
          required
        />
        <Textarea
          label="Secret"
          value={secret}
          onChange={(event) => setSecret(event.currentTarget.value)}
          autosize
          minRows={2}
          maxRows={12}
          spellCheck={false}
          required={!sealed}
          data-autofocus
        />
        <Checkbox
          label="Encode it with base64 first"
          description="As the data of a Kubernetes Secret wants it. In a file, | b64dec takes it off again."
          checked={encode}
          onChange={(event) => setEncode(event.currentTarget.checked)}
        />
        {sealing.isError && (
          <Alert color="red" role="alert">
            {sentence(sealing.error)}
          </Alert>
        )}
        {sealed && <CopyBlock what="Sealed secret" text={snippet(name, sealed)} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Close
          </Button>
          <Button type="submit" loading={sealing.isPending} disabled={secret === ""}>
            Seal
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

const snippet = (name: string, sealed: string) =>
  `spec:
  encryption:
    encryptedSecrets:
      ${name}: ${sealed}
    decryptionTargets:
      - the-file-that-uses-it.yaml   # as {{ .encryptedSecrets.${name} }}
`;
