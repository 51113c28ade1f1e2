// The log of a stage: follows new lines, supports search, jumps to the first error, and links to each line.

import { ActionIcon, Button, Group, Text, TextInput, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconArrowDown, IconArrowUp, IconSearch } from "../icons";
import { useClipboard, useLocalStorage } from "@mantine/hooks";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";

import { isStageCompleted } from "../display-names";
import { withParam } from "../filters";
import { LogSeverity } from "../schema/model/stage_log_pb";
import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { findFirstError, findMatches, type LogLine, styleLine } from "../stage-log";
import { formatDateTime, formatTime } from "../time";
import { LINE_HEIGHT, useLogRows } from "../use-log-rows";
import { useStageLog } from "../use-stage-log";
import classes from "./stage-log.module.css";

const SEVERITIES: Partial<Record<LogSeverity, string>> = {
  [LogSeverity.ERROR]: "error",
  [LogSeverity.SUCCESS]: "success",
};

export function StageLogView({ deploymentId, stage }: { deploymentId: string; stage: PipelineStage }) {
  const active = !isStageCompleted(stage.status);
  const { log, loaded, error } = useStageLog(deploymentId, stage.id, active);
  const linksToError = String(useSearchParams()[0].get("line") === "error");
  if (error && log.lines.length === 0) return <Empty>{error}</Empty>;
  if (log.lines.length === 0) return <Empty>{loaded ? emptyText(stage) : "Loading log…"}</Empty>;
  // The key resets position and search when another stage is selected.
  return <Lines key={`${stage.id} ${linksToError}`} lines={log.lines} active={active} stageId={stage.id} />;
}

function Empty({ children }: { children: string }) {
  return (
    <div className={classes.scroll}>
      <div className={classes.empty}>{children}</div>
    </div>
  );
}

function emptyText(stage: PipelineStage): string {
  switch (stage.status) {
    case StageStatus.STAGE_NOT_STARTED_YET:
      return "This stage has not started. Its log appears here once it starts.";
    case StageStatus.STAGE_RUNNING:
      return "No log output yet.";
    default:
      return "This stage produced no log output.";
  }
}

/** With the time of each line, as text. */
const asText = (lines: readonly LogLine[]): string =>
  lines.map(({ at, plain }) => `${new Date(at * 1000).toISOString()} ${plain}`).join("\n");

function download(name: string, lines: readonly LogLine[]): void {
  const url = URL.createObjectURL(new Blob([asText(lines), "\n"], { type: "text/plain" }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
}

/** The text is joined only when it is copied: a log may have 200,000 lines. */
function CopyLog({ lines }: { lines: readonly LogLine[] }) {
  const { copy, copied } = useClipboard();
  return (
    <Button
      size="compact-xs"
      variant="default"
      aria-label={copied ? "Copied log" : "Copy log"}
      onClick={() => copy(lines.map(({ plain }) => plain).join("\n"))}
    >
      {copied ? "Copied" : "Copy"}
    </Button>
  );
}

interface LinesProps {
  lines: readonly LogLine[];
  active: boolean;
  stageId: string;
}

function Lines({ lines, active, stageId }: LinesProps) {
  const [params] = useSearchParams();
  const [search, setSearch] = useState("");
  const [matchIndex, setMatchIndex] = useState(0);
  const matches = useMemo(() => findMatches(lines, search), [lines, search]);
  const errorIndex = useMemo(() => findFirstError(lines), [lines]);
  const linkedLine = params.get("line") === "error" ? errorIndex + 1 : Number(params.get("line") ?? 0);
  const [showTimes, setShowTimes] = useLocalStorage({ key: "pipecd:log-times", defaultValue: false });
  const [wrap, setWrap] = useLocalStorage({ key: "pipecd:log-wrap", defaultValue: false });
  /** The line of the URL may be on a page of the log that is not loaded yet. */
  const linkPending = useRef(params.has("line"));
  const { scrollElement, rows, scrollTo, scrollToEnd, onScroll } = useLogRows(lines, {
    active,
    follow: active && !params.has("line"),
  });

  useEffect(() => {
    if (!linkPending.current || linkedLine < 1 || linkedLine > lines.length) return;
    linkPending.current = false;
    rows.scrollToIndex(linkedLine - 1, { align: "center" });
  }, [linkedLine, lines.length, rows]);

  useEffect(() => rows.measure(), [rows, wrap]);

  const stepMatch = (by: number) => {
    const next = (matchIndex + by + matches.length) % matches.length;
    setMatchIndex(next);
    scrollTo(matches[next] ?? 0);
  };
  const changeSearch = (text: string) => {
    setSearch(text);
    setMatchIndex(0);
    const first = findMatches(lines, text)[0];
    if (first !== undefined) scrollTo(first);
  };
  const currentMatch = search ? matches[matchIndex] : undefined;

  return (
    <div>
      <div className={classes.tools}>
        <TextInput
          type="search"
          size="xs"
          aria-label="Search log"
          placeholder="Search log"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={search}
          onChange={(event) => changeSearch(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && matches.length > 0) stepMatch(event.shiftKey ? -1 : 1);
          }}
          style={{ flex: "0 1 260px" }}
        />
        {search && (
          <Group gap={4}>
            <Text size="xs" className="faint" aria-live="polite">
              {matches.length === 0 ? "No matches" : `${matchIndex + 1} of ${matches.length}`}
            </Text>
            <Tooltip label="Previous (Shift+Enter)">
              <ActionIcon
                variant="subtle"
                size="sm"
                aria-label="Previous match"
                disabled={matches.length === 0}
                onClick={() => stepMatch(-1)}
              >
                <IconArrowUp size={14} aria-hidden />
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Next (Enter)">
              <ActionIcon
                variant="subtle"
                size="sm"
                aria-label="Next match"
                disabled={matches.length === 0}
                onClick={() => stepMatch(1)}
              >
                <IconArrowDown size={14} aria-hidden />
              </ActionIcon>
            </Tooltip>
          </Group>
        )}
        <Group gap="xs" ml="auto">
          {errorIndex >= 0 && (
            <Button
              size="compact-xs"
              variant="light"
              color="red"
              leftSection={<IconAlertTriangle size={13} aria-hidden />}
              onClick={() => scrollTo(errorIndex)}
            >
              First error
            </Button>
          )}
          <Button
            size="compact-xs"
            variant="default"
            onClick={scrollToEnd}
          >
            Jump to end
          </Button>
          <Button size="compact-xs" variant={showTimes ? "light" : "default"} aria-pressed={showTimes} onClick={() => setShowTimes(!showTimes)}>
            Times
          </Button>
          <Button size="compact-xs" variant={wrap ? "light" : "default"} aria-pressed={wrap} onClick={() => setWrap(!wrap)}>
            Wrap
          </Button>
          <CopyLog lines={lines} />
          <Button size="compact-xs" variant="default" aria-label="Download log" onClick={() => download(`${stageId}.log`, lines)}>
            Download
          </Button>
          <Text size="xs" className="faint">
            {lines.length} {lines.length === 1 ? "line" : "lines"}
          </Text>
        </Group>
      </div>
      {/* A scrollable region must be reachable by keyboard. */}
      <div
        ref={scrollElement}
        className={classes.scroll}
        role="log"
        aria-label="Stage log"
        aria-live="off"
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0}
        onScroll={onScroll}
      >
        <div className={classes.lines} data-wrap={wrap || undefined} style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((row) => {
            const line = lines[row.index];
            if (!line) return null;
            const number = row.index + 1;
            return (
              <div
                key={row.key}
                className={classes.line}
                ref={wrap ? rows.measureElement : undefined}
                data-index={row.index}
                data-severity={SEVERITIES[line.severity]}
                data-current={row.index === currentMatch || number === linkedLine || undefined}
                style={{ transform: `translateY(${row.start}px)`, height: wrap ? undefined : LINE_HEIGHT }}
              >
                <Link
                  className={classes.number}
                  to={{ search: withParam(withParam(params, "stage", [stageId]), "line", [String(number)]).toString() }}
                  replace
                  title={`${formatDateTime(line.at)} · link to this line`}
                  aria-label={`Link to line ${number}`}
                >
                  {number}
                </Link>
                {showTimes && <time className={classes.time}>{formatTime(line.at)}</time>}
                <span className={classes.text}>
                  {styleLine(line, search).map((span, index) => (
                    <span
                      key={index}
                      className={[span.classes, span.match && classes.match].filter(Boolean).join(" ") || undefined}
                      style={{ color: span.colour, backgroundColor: span.background }}
                    >
                      {span.text}
                    </span>
                  ))}
                </span>
              </div>
            );
          })}
        </div>
      </div>
    </div>
  );
}
