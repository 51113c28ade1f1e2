// The log of one stage: follows what is written, searches, finds the first error, and links to any line.

import { ActionIcon, Button, Group, Text, TextInput, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconArrowDown, IconArrowUp, IconSearch } from "@tabler/icons-react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState } from "react";
import { Link, useSearchParams } from "react-router";

import { withParam } from "../filters";
import { LogSeverity } from "../schema/model/stage_log_pb";
import { type PipelineStage, StageStatus } from "../schema/model/stage_pb";
import { firstError, type LogLine, occurrences, paint } from "../stage-log";
import { moment } from "../time";
import { useStageLog } from "../use-stage-log";
import { isAtRest } from "../words";
import classes from "./stage-log.module.css";

const LINE_HEIGHT = 20;
/** So near to the end counts as reading along. */
const NEAR_END = 48;

const SEVERITIES: Partial<Record<LogSeverity, string>> = {
  [LogSeverity.ERROR]: "error",
  [LogSeverity.SUCCESS]: "success",
};

export function StageLogView({ deploymentId, stage }: { deploymentId: string; stage: PipelineStage }) {
  const goesOn = !isAtRest(stage.status);
  const { log, loaded, problem } = useStageLog(deploymentId, stage.id, goesOn);
  if (problem && log.lines.length === 0) return <Empty>{problem}</Empty>;
  if (log.lines.length === 0) return <Empty>{loaded ? whyEmpty(stage) : "Reading the log…"}</Empty>;
  // A new stage begins at its own place, with a search of its own.
  return <Lines key={stage.id} lines={log.lines} goesOn={goesOn} stageId={stage.id} />;
}

function Empty({ children }: { children: string }) {
  return (
    <div className={classes.scroll}>
      <div className={classes.empty}>{children}</div>
    </div>
  );
}

function whyEmpty(stage: PipelineStage): string {
  switch (stage.status) {
    case StageStatus.STAGE_NOT_STARTED_YET:
      return "This stage has not started. Its log appears here, line by line, once it does.";
    case StageStatus.STAGE_RUNNING:
      return "Nothing was written yet.";
    default:
      return "This stage wrote nothing.";
  }
}

interface LinesProps {
  lines: readonly LogLine[];
  goesOn: boolean;
  stageId: string;
}

function Lines({ lines, goesOn, stageId }: LinesProps) {
  const [params] = useSearchParams();
  const wanted = Number(params.get("line") ?? 0);
  const [search, setSearch] = useState("");
  const [at, setAt] = useState(0);
  const found = useMemo(() => occurrences(lines, search), [lines, search]);
  const error = useMemo(() => firstError(lines), [lines]);
  const scroll = useRef<HTMLDivElement>(null);
  const reading = useRef(wanted > 0 ? false : goesOn);
  const rows = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => LINE_HEIGHT,
    overscan: 30,
  });

  useEffect(() => {
    if (wanted > 0) rows.scrollToIndex(wanted - 1, { align: "center" });
    // Only when somebody comes by the link.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    if (reading.current) rows.scrollToIndex(lines.length - 1, { align: "end" });
  }, [lines.length, rows]);

  const go = (index: number) => {
    reading.current = false;
    rows.scrollToIndex(index, { align: "center" });
  };
  const step = (by: number) => {
    const next = (at + by + found.length) % found.length;
    setAt(next);
    go(found[next] ?? 0);
  };
  const look = (text: string) => {
    setSearch(text);
    setAt(0);
    const first = occurrences(lines, text)[0];
    if (first !== undefined) go(first);
  };
  const here = search ? found[at] : undefined;

  return (
    <div>
      <div className={classes.tools}>
        <TextInput
          type="search"
          size="xs"
          aria-label="Search in the log"
          placeholder="Search in the log"
          leftSection={<IconSearch size={14} aria-hidden />}
          value={search}
          onChange={(event) => look(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && found.length > 0) step(event.shiftKey ? -1 : 1);
          }}
          style={{ flex: "0 1 260px" }}
        />
        {search && (
          <Group gap={4}>
            <Text size="xs" className="faint" aria-live="polite">
              {found.length === 0 ? "Not found" : `${at + 1} of ${found.length}`}
            </Text>
            <Tooltip label="Previous (Shift+Enter)">
              <ActionIcon
                variant="subtle"
                size="sm"
                aria-label="Previous occurrence"
                disabled={found.length === 0}
                onClick={() => step(-1)}
              >
                <IconArrowUp size={14} aria-hidden />
              </ActionIcon>
            </Tooltip>
            <Tooltip label="Next (Enter)">
              <ActionIcon
                variant="subtle"
                size="sm"
                aria-label="Next occurrence"
                disabled={found.length === 0}
                onClick={() => step(1)}
              >
                <IconArrowDown size={14} aria-hidden />
              </ActionIcon>
            </Tooltip>
          </Group>
        )}
        <Group gap="xs" ml="auto">
          {error >= 0 && (
            <Button
              size="compact-xs"
              variant="light"
              color="red"
              leftSection={<IconAlertTriangle size={13} aria-hidden />}
              onClick={() => go(error)}
            >
              First error
            </Button>
          )}
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => {
              rows.scrollToIndex(lines.length - 1, { align: "end" });
              reading.current = goesOn;
            }}
          >
            To the end
          </Button>
          <Text size="xs" className="faint">
            {lines.length} {lines.length === 1 ? "line" : "lines"}
          </Text>
        </Group>
      </div>
      {/* A region that scrolls must be reachable by keyboard. */}
      <div
        ref={scroll}
        className={classes.scroll}
        role="log"
        aria-label="Log of the stage"
        aria-live="off"
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
        tabIndex={0}
        onScroll={(event) => {
          const box = event.currentTarget;
          reading.current = goesOn && box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
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
                data-here={row.index === here || number === wanted || undefined}
                style={{ transform: `translateY(${row.start}px)`, height: LINE_HEIGHT }}
              >
                <Link
                  className={classes.number}
                  to={{ search: withParam(withParam(params, "stage", [stageId]), "line", [String(number)]).toString() }}
                  replace
                  title={`${moment(line.at)} · a link to this line`}
                  aria-label={`Link to line ${number}`}
                >
                  {number}
                </Link>
                <span>
                  {paint(line, search).map((piece, index) => (
                    <span
                      key={index}
                      className={[piece.classes, piece.found && classes.found].filter(Boolean).join(" ") || undefined}
                      style={{ color: piece.colour, backgroundColor: piece.background }}
                    >
                      {piece.text}
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
