// On a quickstart: which Git commands to try next. Shown until it is put away.

import { ActionIcon, Button, Group, Stack, Text, Title, Tooltip } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconSparkles, IconX } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";

import { quickstartQuery } from "../queries";
import { CopyBlock } from "./copy";
import classes from "./newcomer.module.css";

export function Newcomer() {
  const quickstart = useQuery(quickstartQuery);
  const [away, putAway] = useLocalStorage({ key: "pipecd.newcomer-away", defaultValue: false });
  if (!quickstart.data) return null;
  if (away) {
    return (
      <Button
        variant="subtle"
        size="compact-sm"
        leftSection={<IconSparkles size={15} aria-hidden />}
        onClick={() => putAway(false)}
        style={{ alignSelf: "flex-start" }}
      >
        What to try next
      </Button>
    );
  }
  const { remote, clone, steps } = quickstart.data;
  return (
    <section className={classes.panel} aria-labelledby="newcomer">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <div>
          <Title order={2} size="h4" id="newcomer">
            Deploy something
          </Title>
          <Text size="sm" className="faint">
            These applications follow the Git repository at <span className="mono">{remote}</span>. Push a commit, and
            watch it being deployed here within seconds.
          </Text>
        </div>
        <Tooltip label="Put away">
          <ActionIcon variant="subtle" color="gray" aria-label="Put this panel away" onClick={() => putAway(true)}>
            <IconX size={16} aria-hidden />
          </ActionIcon>
        </Tooltip>
      </Group>
      <ol className={classes.steps}>
        <Step title="Get a copy of the repository" commands={[clone]} />
        {steps.map((step) => (
          <Step key={step.title} {...step} />
        ))}
      </ol>
    </section>
  );
}

function Step({ title, commands }: { title: string; commands: string[] }) {
  return (
    <li>
      <Stack gap={6}>
        <Text size="sm" fw={600}>
          {title}
        </Text>
        <CopyBlock text={commands.join("\n")} what={`Commands: ${title}`} />
      </Stack>
    </li>
  );
}
