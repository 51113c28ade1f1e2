// The command palette and the keyboard shortcuts of every page.

import { Group, Kbd, Modal, Stack, Switch, Table, Text, UnstyledButton } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { lazy, Suspense, useState } from "react";
import { useNavigate } from "react-router";

import { IconSearch } from "../../icons";
import classes from "./commands.module.css";
import { HELP, PALETTE_KEYS, SEARCH, usePageShortcuts, useShortcuts, useShortcutsEnabled } from "./shortcuts";

const Palette = lazy(async () => ({ default: (await import("./palette")).Palette }));
const MODIFIER = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl";

export function Commands() {
  const navigate = useNavigate();
  const [enabled, setEnabled] = useShortcutsEnabled();
  const [opened, setOpened] = useState(false);
  /** The palette stays loaded once it was opened. */
  const [loaded, setLoaded] = useState(false);
  const [helping, setHelping] = useState(false);
  const open = () => {
    setLoaded(true);
    setOpened(true);
  };
  const search = () => {
    const field = document.querySelector<HTMLInputElement>('main input[type="search"]');
    if (field) field.focus();
    else open();
  };
  useHotkeys(PALETTE_KEYS.map((keys) => [keys, open]), []);
  const pageShortcuts = usePageShortcuts();
  const pages = pageShortcuts.map(({ keys, to }) => [keys, () => void navigate(to)] as const);
  useShortcuts({ ...Object.fromEntries(pages), [SEARCH.keys]: search, [HELP.keys]: () => setHelping(true) }, enabled);
  return (
    <>
      <UnstyledButton className={classes.button} onClick={open} aria-label={`Search or jump to… ${MODIFIER} K`}>
        <IconSearch size={16} aria-hidden />
        <Text span size="sm" visibleFrom="md" className="faint">
          Search or jump to…
        </Text>
        <Kbd size="xs" visibleFrom="md">
          {MODIFIER} K
        </Kbd>
      </UnstyledButton>
      {loaded && (
        <Suspense>
          <Palette opened={opened} close={() => setOpened(false)} showHelp={() => setHelping(true)} />
        </Suspense>
      )}
      <Modal
        opened={helping}
        onClose={() => setHelping(false)}
        title="Keyboard shortcuts"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <Stack gap="md">
          <Table aria-label="Keyboard shortcuts">
            <Table.Tbody>
              {[{ keys: `${MODIFIER} K`, text: "Search or jump to anything" }, SEARCH, ...pageShortcuts, HELP].map(
                ({ keys, text }) => (
                  <Table.Tr key={keys}>
                    <Table.Td>{text}</Table.Td>
                    <Table.Td>
                      <Group gap={4} justify="flex-end">
                        {keys.split(" ").map((key) => (
                          <Kbd key={key}>{key}</Kbd>
                        ))}
                      </Group>
                    </Table.Td>
                  </Table.Tr>
                ),
              )}
            </Table.Tbody>
          </Table>
          <Switch
            label="Shortcuts of single keys"
            description="Stored in this browser."
            checked={enabled}
            onChange={(event) => setEnabled(event.currentTarget.checked)}
          />
        </Stack>
      </Modal>
    </>
  );
}
