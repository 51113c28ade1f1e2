// The controls of a log: what it shows, search, jumps, times, wrap, copy, download and full screen.

import { ActionIcon, Button, Group, Text, TextInput, Tooltip } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import type { ReactNode } from "react";

import {
  IconAlertTriangle,
  IconArrowDown,
  IconArrowUp,
  IconCheck,
  IconCopy,
  IconDownload,
  IconMaximize,
  IconMinimize,
  IconSearch,
} from "../../icons";
import classes from "./log-view.module.css";
import { logText, type LogStep } from "./steps";

type Setting = readonly [value: boolean, set: (value: boolean) => void];

interface LogToolsProps extends SearchProps {
  /** Selects what the log shows; false if there is nothing to select. */
  scope: ReactNode;
  /** Names the log while it hides the page; otherwise empty. */
  title: string;
  steps: readonly LogStep[];
  /** Name of the downloaded file. */
  file: string;
  grouped: boolean;
  anyUnfolded: boolean;
  toggleAll: () => void;
  /** Undefined if there is no error. */
  showFirstError: (() => void) | undefined;
  scrollToEnd: () => void;
  /** Whether new lines are followed; null if none will come. */
  follow: Setting | null;
  times: Setting;
  wrap: Setting;
  full: Setting;
}

export function LogTools({ scope, title, steps, file, grouped, anyUnfolded, toggleAll, ...props }: LogToolsProps) {
  const { showFirstError, scrollToEnd, follow, times, wrap } = props;
  const [isFull, setFull] = props.full;
  const count = steps.reduce((sum, { log }) => sum + log.lines.length, 0);
  return (
    <div className={classes.tools}>
      {title && (
        <Text fw={600} size="sm">
          {title}
        </Text>
      )}
      {scope}
      <Search {...props} />
      <Group gap="xs" ml="auto">
        {count > 0 && (
          <Text size="xs" className="faint">
            {count.toLocaleString("en")} {count === 1 ? "line" : "lines"}
          </Text>
        )}
        {showFirstError && (
          <Button
            size="compact-xs"
            variant="light"
            color="red"
            leftSection={<IconAlertTriangle size={13} aria-hidden />}
            onClick={showFirstError}
          >
            First error
          </Button>
        )}
        {grouped && (
          <Button size="compact-xs" variant="default" onClick={toggleAll}>
            {anyUnfolded ? "Fold all" : "Unfold all"}
          </Button>
        )}
        {follow ? (
          <Toggle setting={follow}>Follow</Toggle>
        ) : (
          <Button size="compact-xs" variant="default" onClick={scrollToEnd}>
            Jump to end
          </Button>
        )}
        <Toggle setting={times}>Times</Toggle>
        <Toggle setting={wrap}>Wrap</Toggle>
        <Group gap={2} wrap="nowrap">
          <CopyLog steps={steps} grouped={grouped} />
          <IconButton label="Download log" onClick={() => download(file, logText(steps, grouped, true))}>
            <IconDownload size={16} aria-hidden />
          </IconButton>
          <IconButton label={isFull ? "Exit full screen" : "Full screen"} onClick={() => setFull(!isFull)}>
            {isFull ? <IconMinimize size={16} aria-hidden /> : <IconMaximize size={16} aria-hidden />}
          </IconButton>
        </Group>
      </Group>
    </div>
  );
}

function Toggle({ setting: [value, set], children }: { setting: Setting; children: string }) {
  return (
    <Button size="compact-xs" variant={value ? "light" : "default"} aria-pressed={value} onClick={() => set(!value)}>
      {children}
    </Button>
  );
}

interface SearchProps {
  search: string;
  changeSearch: (text: string) => void;
  /** The number of matches. */
  matches: number;
  matchIndex: number;
  stepMatch: (by: number) => void;
}

function Search({ search, changeSearch, matches, matchIndex, stepMatch }: SearchProps) {
  return (
    <>
      <TextInput
        type="search"
        size="xs"
        aria-label="Search log"
        placeholder="Search log"
        leftSection={<IconSearch size={14} aria-hidden />}
        value={search}
        onChange={(event) => changeSearch(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && matches > 0) stepMatch(event.shiftKey ? -1 : 1);
        }}
        style={{ flex: "0 1 160px" }}
      />
      {search && (
        <Group gap={4}>
          <Text size="xs" className="faint" aria-live="polite">
            {matches === 0 ? "No matches" : `${matchIndex + 1} of ${matches}`}
          </Text>
          <IconButton label="Previous match" tooltip="Previous (Shift+Enter)" disabled={matches === 0} onClick={() => stepMatch(-1)}>
            <IconArrowUp size={14} aria-hidden />
          </IconButton>
          <IconButton label="Next match" tooltip="Next (Enter)" disabled={matches === 0} onClick={() => stepMatch(1)}>
            <IconArrowDown size={14} aria-hidden />
          </IconButton>
        </Group>
      )}
    </>
  );
}

interface IconButtonProps {
  label: string;
  /** The label unless it is given. */
  tooltip?: string;
  disabled?: boolean;
  onClick: () => void;
  children: ReactNode;
}

function IconButton({ label, tooltip = label, disabled = false, onClick, children }: IconButtonProps) {
  return (
    <Tooltip label={tooltip}>
      <ActionIcon variant="subtle" color="gray" size="sm" aria-label={label} disabled={disabled} onClick={onClick}>
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

/** The text is joined only when it is copied: a log may have 200,000 lines. */
function CopyLog({ steps, grouped }: Pick<LogToolsProps, "steps" | "grouped">) {
  const { copy, copied } = useClipboard();
  return (
    <IconButton label={copied ? "Copied log" : "Copy log"} onClick={() => copy(logText(steps, grouped, false))}>
      {copied ? <IconCheck size={16} aria-hidden /> : <IconCopy size={16} aria-hidden />}
    </IconButton>
  );
}

function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text, "\n"], { type: "text/plain" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
}
