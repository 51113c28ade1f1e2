// Ready commands that start a piped, by where it runs.

import { Tabs, Text } from "@mantine/core";

import { CopyBlock } from "../../components/copy";
import { PLACES } from "./start-commands";

export function StartCommands() {
  return (
    <div>
      <Text size="sm" mb={4}>
        2. Start the piped where it can reach Git and your platform. Nothing connects to it.
      </Text>
      <Tabs defaultValue={PLACES[0]?.name} keepMounted={false}>
        <Tabs.List aria-label="Where the piped runs">
          {PLACES.map(({ name }) => (
            <Tabs.Tab key={name} value={name}>
              {name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {PLACES.map(({ name, needs, commands }) => (
          <Tabs.Panel key={name} value={name} pt="xs">
            <Text size="sm" className="faint" mb={4}>
              {needs}
            </Text>
            <CopyBlock text={commands} label={`Commands for ${name}`} />
          </Tabs.Panel>
        ))}
      </Tabs>
    </div>
  );
}
