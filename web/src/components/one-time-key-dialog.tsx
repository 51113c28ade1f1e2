// Shows a new key once. Neither Escape nor a click outside closes the dialog, since the key cannot be shown again.

import { Alert, Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

import { CopyText } from "./copy";
import { useReturnFocus } from "./return-focus";

export interface OneTimeKey {
  title: string;
  /** How to replace the key if it is lost, as a sentence. */
  replacement: string;
  /** Label and text of each value to copy. */
  values: readonly (readonly [label: string, text: string])[];
  /** How to use the key. */
  next: ReactNode;
}

export function OneTimeKeyDialog({ oneTimeKey, close }: { oneTimeKey: OneTimeKey; close: () => void }) {
  const { title, replacement, values, next } = oneTimeKey;
  useReturnFocus();
  return (
    <Modal
      opened
      onClose={close}
      title={title}
      size="lg"
      closeOnClickOutside={false}
      closeOnEscape={false}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <Stack gap="md">
        <Alert color="orange" variant="light" title="This key is shown only once">
          Only its hash is stored. Copy it to a safe place now. {replacement}
        </Alert>
        {values.map(([label, text]) => (
          <div key={label}>
            <Text size="sm" className="faint">
              {label}
            </Text>
            <CopyText text={text} label={label} />
          </div>
        ))}
        {next}
        <Group justify="flex-end">
          <Button onClick={close}>I have copied the key</Button>
        </Group>
      </Stack>
    </Modal>
  );
}
