// The log of a stage: follows new lines, supports search, jumps to the first error, and links to each line.

import { ActionIcon, Button, Group, Text, TextInput, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconArrowDown, IconArrowUp, IconSearch } from "../icons";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";

import { isStageCompleted } from "../display-names";
import { withParam } from "../filters";
import { LogSeverity } from "../schema/model/stage_log_pb";
import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { findFirstError, findMatches, type LogLine, styleLine } from "../stage-log";
import { formatDateTime } from "../time";
import { useStageLog } from "../use-stage-log";
import classes from "./stage-log.module.css";

/** In CSS pixels. */
const LINE_HEIGHT = 20;
/** Within this distance of the end, the view follows new lines (CSS pixels). */
const FOLLOW_DISTANCE = 48;

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
  const scrollElement = useRef<HTMLDivElement>(null);
  const following = useRef(linkedLine > 0 ? false : active);
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scrollElement.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 30,
  });

  useEffect(() => {
    if (linkedLine > 0) rows.scrollToIndex(linkedLine - 1, { align: "center" });
    // Only on the first render: scrolls to the line of the URL.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    if (following.current) rows.scrollToIndex(lines.length - 1, { align: "end" });
  }, [lines.length, rows]);

  const scrollTo = (index: number) => {
    following.current = false;
    rows.scrollToIndex(index, { align: "center" });
  };
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
            onClick={() => {
              rows.scrollToIndex(lines.length - 1, { align: "end" });
              following.current = active;
            }}
          >
            Jump to end
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
        onScroll={(event) => {
          const box = event.currentTarget;
          following.current = active && box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOW_DISTANCE;
        }}
      >
        <div className={classes.lines} style={{ height: rows.getTotalSize() }}>
          {rows.getVirtualItems().map((row) => {
            const line = lines[row.index];
            if (!line) return null;
            const number = row.index + 1;
            return (
              <div
                key={row.key}
                className={classes.line}
                data-severity={SEVERITIES[line.severity]}
                data-current={row.index === currentMatch || number === linkedLine || undefined}
                style={{ transform: `translateY(${row.start}px)`, height: LINE_HEIGHT }}
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
                <span>
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
