// Sets the desired version of pipeds. Their launchers poll it, install that version and restart the piped with it.

import { Alert, Autocomplete, Button, Checkbox, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { errorMessage, webClient } from "../api";
import { key, releasesQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { normalizeVersion, versionOptions } from "../versions";

interface UpgradeDialogProps {
  /** The pipeds to choose from. */
  pipeds: Piped[];
  /** The IDs selected when the dialog opens; null closes it. */
  selectedIds: string[] | null;
  close: () => void;
}

export function UpgradeDialog({ pipeds, selectedIds, close }: UpgradeDialogProps) {
  return (
    <Modal
      opened={selectedIds !== null}
      onClose={close}
      title="Upgrade pipeds"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {selectedIds && <Form pipeds={pipeds} initialIds={selectedIds} close={close} />}
    </Modal>
  );
}

function Form({ pipeds, initialIds, close }: { pipeds: Piped[]; initialIds: string[]; close: () => void }) {
  const client = useQueryClient();
  const releases = useQuery(releasesQuery);
  /** Null until the user edits the field; until then it shows the newest release. */
  const [typedVersion, setTypedVersion] = useState<string | null>(null);
  const [pipedIds, setPipedIds] = useState(initialIds);
  const version = (typedVersion ?? releases.data?.[0] ?? "").trim();
  const mutation = useMutation({
    mutationFn: () => webClient.updatePipedDesiredVersion({ version: normalizeVersion(version), pipedIds }),
    onSuccess: async () => {
      close();
      await client.invalidateQueries({ queryKey: key.pipeds });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <Autocomplete
          label="Version"
          description="Select a version, or enter any other version that the launchers find in your releases."
          placeholder="v0.1.0"
          openOnFocus={false}
          required
          data={versionOptions(releases.data ?? [], pipeds)}
          value={typedVersion ?? version}
          onChange={setTypedVersion}
          data-autofocus
        />
        <Checkbox.Group label="Pipeds" value={pipedIds} onChange={setPipedIds}>
          <Stack gap="xs" mt="xs">
            {pipeds.map((piped) => (
              <Checkbox key={piped.id} value={piped.id} label={piped.name} description={describeVersion(piped)} />
            ))}
          </Stack>
        </Checkbox.Group>
        <Text size="sm" className="faint">
          The launcher of a piped checks the requested version about once a minute, installs it and restarts the piped
          gracefully. Running deployments continue. A piped started without the launcher is not upgraded.
        </Text>
        {mutation.isError && (
          <Alert color="red" role="alert">
            {errorMessage(mutation.error)}
          </Alert>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={mutation.isPending} disabled={!version || pipedIds.length === 0}>
            {pipedIds.length > 1 ? `Upgrade ${pipedIds.length} pipeds` : "Upgrade"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function describeVersion(piped: Piped): string {
  const version = piped.version ? `Version ${piped.version}` : "Never connected";
  return piped.disabled ? `${version}, disabled` : version;
}
