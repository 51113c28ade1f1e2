// The quickstart's guide: Git commands that trigger deployments. The user can hide it.

import { ActionIcon, Anchor, Button, Group, Stack, Text, Title, Tooltip } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { IconSparkles, IconX } from "../icons";
import { useQuery } from "@tanstack/react-query";

import { quickstartQuery } from "../queries";
import { CopyBlock } from "./copy";
import classes from "./quickstart-guide.module.css";

export function QuickstartGuide() {
  const quickstart = useQuery(quickstartQuery);
  const [hidden, setHidden] = useLocalStorage({ key: "pipecd.newcomer-away", defaultValue: false });
  if (!quickstart.data) return null;
  if (hidden) {
    return (
      <Button
        variant="subtle"
        size="compact-sm"
        leftSection={<IconSparkles size={15} aria-hidden />}
        onClick={() => setHidden(false)}
        style={{ alignSelf: "flex-start" }}
      >
        Show the guide
      </Button>
    );
  }
  const { remote, clone, inbox, note, steps } = quickstart.data;
  return (
    <section className={classes.panel} aria-labelledby="quickstart-guide">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <div>
          <Title order={2} size="h4" id="quickstart-guide">
            Deploy your first change
          </Title>
          <Text size="sm" className="faint">
            These applications are deployed from the Git repository <span className="mono">{remote}</span>. Push a
            commit, and its deployment appears here within seconds. Notifications of it are in the{" "}
            <Anchor href={inbox} target="_blank" rel="noreferrer" underline="always">
              inbox
            </Anchor>
            .
          </Text>
          {note && (
            <Text size="sm" fw={600} mt={4}>
              {note}
            </Text>
          )}
        </div>
        <Tooltip label="Hide">
          <ActionIcon variant="subtle" color="gray" aria-label="Hide the guide" onClick={() => setHidden(true)}>
            <IconX size={16} aria-hidden />
          </ActionIcon>
        </Tooltip>
      </Group>
      <ol role="list" className={classes.steps}>
        <Step title="Clone the repository" commands={[clone]} />
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
        <CopyBlock text={commands.join("\n")} label={`Commands: ${title}`} />
      </Stack>
    </li>
  );
}
