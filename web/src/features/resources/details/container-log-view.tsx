// The log of one of a pod's containers.

import { Checkbox, Group, Select, Stack, Text } from "@mantine/core";
import { useState } from "react";

import type { Container } from "../../../schema/pipecd/v1/details_pb";
import { type ContainerLogLine, lineTime } from "./container-log";
import classes from "./details.module.css";
import { LINE_HEIGHT, useLogRows } from "../../log/use-log-rows";
import { type ContainerLog, useContainerLog } from "./use-container-log";

interface ContainerLogViewProps {
  applicationId: string;
  resourceId: string;
  containers: readonly Container[];
}

export function ContainerLogView({ applicationId, resourceId, containers }: ContainerLogViewProps) {
  const [chosen, setChosen] = useState("");
  const [previous, setPrevious] = useState(false);
  const names = containers.map(({ name }) => name);
  const container = names.includes(chosen) ? chosen : (containers.find(({ init }) => !init)?.name ?? names[0] ?? "");
  const restarts = containers.find(({ name }) => name === container)?.restarts ?? 0;
  const log = useContainerLog(applicationId, resourceId, container, previous && restarts > 0);
  return (
    <Stack gap="xs">
      <Group gap="md">
        <Select
          size="xs"
          aria-label="Container"
          allowDeselect={false}
          value={container}
          data={containers.map(({ name, init, state }) => ({
            value: name,
            label: [name, init && "(init)", state && `· ${state}`].filter(Boolean).join(" "),
          }))}
          onChange={(name) => setChosen(name ?? "")}
          style={{ flex: "0 1 320px" }}
        />
        {restarts > 0 && (
          <Checkbox
            size="xs"
            label="Previous run"
            checked={previous}
            onChange={(event) => setPrevious(event.currentTarget.checked)}
          />
        )}
        <Text size="xs" className="faint" aria-live="polite" ml="auto">
          {statusText(log)}
        </Text>
      </Group>
      {log.lines.length > 0 ? (
        <Lines lines={log.lines} />
      ) : (
        <div className={classes.log}>
          <div className={classes.empty}>{emptyText(log)}</div>
        </div>
      )}
    </Stack>
  );
}

function statusText({ status, error, lines }: ContainerLog): string {
  if (lines.length === 0) return "";
  switch (status) {
    case "following":
      return "Following";
    case "ended":
      return "The container has ended";
    case "connecting":
      return "Connecting…";
    default:
      return error;
  }
}

function emptyText({ status, error }: ContainerLog): string {
  switch (status) {
    case "connecting":
      return "Loading log…";
    case "following":
      return "No log output yet.";
    case "ended":
      return "The container has written nothing.";
    default:
      return error;
  }
}

function Lines({ lines }: { lines: readonly ContainerLogLine[] }) {
  const { scrollElement, rows, onScroll } = useLogRows(lines.length, lines, { active: true, follow: true });
  return (
    <div
      ref={scrollElement}
      className={classes.log}
      role="log"
      aria-label="Container log"
      aria-live="off"
      // A scrollable region must be reachable by keyboard.
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
      tabIndex={0}
      onScroll={onScroll}
    >
      <div className={classes.lines} style={{ height: rows.getTotalSize() }}>
        {rows.getVirtualItems().map((row) => {
          const line = lines[row.index];
          if (!line) return null;
          return (
            <div key={row.key} className={classes.line} style={{ transform: `translateY(${row.start}px)`, height: LINE_HEIGHT }}>
              <span className={classes.time} title={line.time}>
                {lineTime(line.time)}
              </span>
              <span>{line.text || " "}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}
