// Asks pipeds for another version. Their launchers look for that, install it and exchange the agent.

import { Alert, Autocomplete, Button, Checkbox, Group, Modal, Stack, Text } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";

import { sentence, web } from "../api";
import { key, releasesQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import { asked, offered } from "../versions";

interface UpgradeProps {
  /** Those that can be chosen. */
  pipeds: Piped[];
  /** Those that are chosen at first; null closes the dialog. */
  chosen: string[] | null;
  close: () => void;
}

export function Upgrade({ pipeds, chosen, close }: UpgradeProps) {
  return (
    <Modal
      opened={chosen !== null}
      onClose={close}
      title="Upgrade pipeds"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {chosen && <Form pipeds={pipeds} first={chosen} close={close} />}
    </Modal>
  );
}

function Form({ pipeds, first, close }: { pipeds: Piped[]; first: string[]; close: () => void }) {
  const client = useQueryClient();
  const releases = useQuery(releasesQuery);
  const [typed, setTyped] = useState<string | null>(null);
  const [chosen, setChosen] = useState(first);
  const version = (typed ?? releases.data?.[0] ?? "").trim();
  const offers = offered(releases.data ?? [], pipeds);
  const upgrading = useMutation({
    mutationFn: () => web.updatePipedDesiredVersion({ version: asked(version), pipedIds: chosen }),
    onSuccess: async () => {
      close();
      await client.invalidateQueries({ queryKey: key.pipeds });
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    upgrading.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Stack gap="md">
        <Autocomplete
          label="Version"
          description="Choose one, or type any other that the launchers find in your releases."
          placeholder="v0.1.0"
          openOnFocus={false}
          required
          data={offers}
          value={typed ?? version}
          onChange={setTyped}
          data-autofocus
        />
        <Checkbox.Group label="Pipeds" value={chosen} onChange={setChosen}>
          <Stack gap="xs" mt="xs">
            {pipeds.map((piped) => (
              <Checkbox
                key={piped.id}
                value={piped.id}
                label={piped.name}
                description={standing(piped)}
              />
            ))}
          </Stack>
        </Checkbox.Group>
        <Text size="sm" className="faint">
          The launcher of a piped looks for its version about once a minute, installs it and exchanges the piped in good
          order; deployments under way go on. A piped that was started without the launcher does not change.
        </Text>
        {upgrading.isError && (
          <Alert color="red" role="alert">
            {sentence(upgrading.error)}
          </Alert>
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={close}>
            Keep as it is
          </Button>
          <Button type="submit" loading={upgrading.isPending} disabled={!version || chosen.length === 0}>
            {chosen.length > 1 ? `Upgrade ${chosen.length} pipeds` : "Upgrade"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function standing(piped: Piped): string {
  const runs = piped.version ? `runs ${piped.version}` : "never connected";
  return piped.disabled ? `${runs}, disabled` : runs;
}
