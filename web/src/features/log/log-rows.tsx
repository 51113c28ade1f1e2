// The rows of a log: the heading of a step, a line, and a note in place of lines.

import { Text } from "@mantine/core";
import { type CSSProperties, memo } from "react";
import { Link, useSearchParams } from "react-router";

import { StatusIcon } from "../../components/status";
import { Duration } from "../../components/time";
import { stageDisplay } from "../../display-names";
import { withParam } from "../../filters";
import { IconChevronDown, IconChevronRight } from "../../icons";
import { LogSeverity } from "../../schema/model/stage_log_pb";
import { endedAt, stageNote, startedAt } from "../../stages";
import { formatDateTime, formatTime } from "../../time";
import classes from "./log-view.module.css";
import { type LogLine, styleLine } from "./stage-log";
import type { LogStep } from "./steps";
import { LINE_HEIGHT } from "./use-log-rows";

/** The place of a row in the log, most of whose rows are not in the document: `aria-setsize` is −1 while more may come. */
export interface RowPlace {
  "aria-posinset": number;
  "aria-setsize": number;
}

/** In CSS pixels. */
export const HEADING_HEIGHT = 36;

const SEVERITIES: Partial<Record<LogSeverity, string>> = {
  [LogSeverity.ERROR]: "error",
  [LogSeverity.SUCCESS]: "success",
};

interface StepHeadingProps {
  place: RowPlace;
  step: LogStep;
  folded: boolean;
  /** Stays at the top while lines of its step are on screen. */
  sticky: boolean;
  style: CSSProperties;
  toggle: () => void;
}

export function StepHeading({ place, step: { stage, log }, folded, sticky, style, toggle }: StepHeadingProps) {
  const status = stageDisplay(stage);
  const started = startedAt(stage);
  const count = log.lines.length;
  const Chevron = folded ? IconChevronRight : IconChevronDown;
  return (
    <div
      role="listitem"
      {...place}
      className={classes.heading}
      data-sticky={sticky || undefined}
      style={{ ...style, height: HEADING_HEIGHT }}
    >
      <button type="button" className={classes.fold} aria-expanded={!folded} onClick={toggle}>
        <Chevron size={15} aria-hidden />
        <StatusIcon status={status} size={16} />
        <span className={classes.stage}>{stage.name}</span>
        <span className={classes.note}>{stageNote(stage) || stage.desc}</span>
        {count > 0 && (
          <span className={classes.figure}>
            {count.toLocaleString("en")} {count === 1 ? "line" : "lines"}
          </span>
        )}
        <span className={classes.duration}>{started > 0 && <Duration from={started} until={endedAt(stage)} />}</span>
      </button>
    </div>
  );
}

export function NoteRow({ place, text, style }: { place: RowPlace; text: string; style: CSSProperties }) {
  return (
    <div role="listitem" {...place} className={classes.line} style={{ ...style, height: LINE_HEIGHT }}>
      <Text className={classes.rowNote}>{text}</Text>
    </div>
  );
}

interface LineRowProps {
  line: LogLine;
  /** From 1, in its step. */
  number: number;
  stageId: string;
  /** Index of the row. */
  index: number;
  /** Of all rows; −1 while more may come. */
  rowCount: number;
  /** Measures the row's height if its text is wrapped. */
  measure: ((element: HTMLElement | null) => void) | undefined;
  search: string;
  showTime: boolean;
  current: boolean;
  /** Distance from the begin of the log, in CSS pixels. */
  top: number;
}

/** Rendered again only if it changes: while the log is scrolled, most lines on screen stay the same. */
export const LineRow = memo(function LineRow(props: LineRowProps) {
  const { line, number, stageId, index, rowCount, measure, search, showTime, current, top } = props;
  const [params] = useSearchParams();
  const link = withParam(withParam(params, "stage", [stageId]), "line", [String(number)]);
  return (
    <div
      role="listitem"
      aria-posinset={index + 1}
      aria-setsize={rowCount}
      className={classes.line}
      ref={measure}
      data-index={index}
      data-severity={SEVERITIES[line.severity]}
      data-current={current || undefined}
      style={{ transform: `translateY(${top}px)`, height: measure ? undefined : LINE_HEIGHT }}
    >
      <Link
        className={classes.number}
        to={{ search: link.toString() }}
        replace
        title={`${formatDateTime(line.at)} · link to this line`}
        aria-label={`Link to line ${number}`}
      >
        {number}
      </Link>
      {showTime && <time className={classes.time}>{formatTime(line.at)}</time>}
      <span className={classes.text}>
        {styleLine(line, search).map((span, position) => (
          <span
            key={position}
            className={[span.classes, span.match && classes.match].filter(Boolean).join(" ") || undefined}
            style={{ color: span.colour, backgroundColor: span.background }}
          >
            {span.text}
          </span>
        ))}
      </span>
    </div>
  );
});
