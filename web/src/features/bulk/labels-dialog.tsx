// Labels of the selected applications: the commands that change them in Git.

import { Modal, MultiSelect, Stack, TagsInput, Text } from "@mantine/core";
import { useState } from "react";

import { CopyBlock } from "../../components/copy";
import { useReturnFocus } from "../../components/return-focus";
import type { Application } from "../../schema/model/application_pb";
import { labelCommands, parseLabel, removableKeys } from "./label-commands";

export function LabelsDialog({ applications, close }: { applications: readonly Application[]; close: () => void }) {
  useReturnFocus();
  const [added, setAdded] = useState<string[]>([]);
  const [removed, setRemoved] = useState<string[]>([]);
  const invalid = added.find((text) => !parseLabel(text));
  const labels = added.map(parseLabel).filter((label) => label !== null);
  const commands = invalid ? "" : labelCommands(applications, labels, removed);
  const count = applications.length === 1 ? "1 application" : `${applications.length} applications`;
  return (
    <Modal opened onClose={close} title={`Labels of ${count}`} size="lg" closeButtonProps={{ "aria-label": "Close" }}>
      <Stack gap="md">
        <Text size="sm">
          Labels are in the application&apos;s file in Git. The commands below change the files of all selected applications, with one commit for each
          repository. They need <span className="mono">yq</span> and the right to push.
        </Text>
        <TagsInput
          label="Add or change"
          placeholder={added.length > 0 ? "" : "key:value"}
          description="Press Enter after each."
          value={added}
          onChange={setAdded}
          error={invalid && `“${invalid}” is not key:value of letters, digits and . _ / @ + -`}
        />
        <MultiSelect
          label="Remove"
          placeholder={removed.length > 0 ? "" : "Choose keys"}
          data={removableKeys(applications)}
          value={removed}
          onChange={setRemoved}
        />
        {commands && <CopyBlock text={commands} label="Commands" />}
      </Stack>
    </Modal>
  );
}
