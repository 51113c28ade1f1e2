// Sets the desired version of pipeds. Their launchers poll it, install that version and restart the piped with it.

import { Autocomplete, Button, Checkbox, Group, Modal, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { webClient } from "../api";
import { useChange } from "../changes";
import { fieldErrors, useFocusOnError } from "../field-errors";
import { key, releasesQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { Problem } from "./form-dialog";
import { isOlder, isOurs, normalizeVersion, versionOptions } from "../versions";

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
  const releases = useQuery(releasesQuery);
  /** Null until the user edits the field; until then it shows the newest release. */
  const [typedVersion, setTypedVersion] = useState<string | null>(null);
  const [pipedIds, setPipedIds] = useState(initialIds);
  const selected = pipeds.filter((piped) => pipedIds.includes(piped.id));
  const released = selected.every(isOurs) ? (releases.data ?? []) : [];
  const version = (typedVersion ?? released[0] ?? "").trim();
  const downgraded = selected.filter((piped) => version && isOlder(version, piped.version));
  const [allowDowngrade, setAllowDowngrade] = useState(false);
  const mutation = useChange(
    () =>
      webClient.updatePipedDesiredVersion({
        version: normalizeVersion(version),
        pipedIds,
        allowDowngrade: allowDowngrade && downgraded.length > 0,
      }),
    [key.pipeds],
    close,
  );
  const errors = fieldErrors(mutation.error, { version: "version", pipeds: "piped_ids" });
  const form = useFocusOnError(mutation.error);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutation.mutate();
  };
  return (
    <form ref={form} onSubmit={submit}>
      <Stack gap="md">
        <Autocomplete
          label="Version"
          description="Select a version, or enter any other version that the launchers find in your releases."
          placeholder="v0.1.0"
          openOnFocus={false}
          required
          data={versionOptions(released, selected.length > 0 ? selected : pipeds)}
          value={typedVersion ?? version}
          onChange={setTypedVersion}
          error={errors.at.version}
          data-autofocus
        />
        <Checkbox.Group label="Pipeds" value={pipedIds} onChange={setPipedIds} error={errors.at.pipeds}>
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
        {downgraded.length > 0 && (
          <Checkbox
            label={`Allow a downgrade of ${downgraded.map((piped) => piped.name).join(", ")}`}
            description="Older versions may have faults that are known. Allow it only if you are sure."
            checked={allowDowngrade}
            onChange={(event) => setAllowDowngrade(event.currentTarget.checked)}
          />
        )}
        <Problem error={errors.other} />
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={mutation.isPending} disabled={!version || pipedIds.length === 0 || (downgraded.length > 0 && !allowDowngrade)}>
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
