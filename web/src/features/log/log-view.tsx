// The log of one stage or of all stages of a deployment: follows new lines, searches, and links to each line.

import { FocusTrap, SegmentedControl, Text } from "@mantine/core";
import { useLocalStorage, useWindowEvent } from "@mantine/hooks";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router";

import { isDeploymentCompleted, isStageCompleted } from "../../display-names";
import { LinkNotice } from "../../components/left-out-params";
import { withParam } from "../../filters";
import type { Deployment } from "../../schema/model/deployment_pb";
import { type PipelineStage, StageStatus } from "../../schema/model/stage_pb";
import { shownStages } from "../../stages";
import { LogTools } from "./log-tools";
import { HEADING_HEIGHT, LineRow, NoteRow, StepHeading } from "./log-rows";
import classes from "./log-view.module.css";
import { findFirstError, findMatches, INITIAL_STATE } from "./stage-log";
import { emptyStepText, type Folding, isCaughtUp, isFolded, layoutRows, type LogRow, type LogStep } from "./steps";
import { LINE_HEIGHT, useLogRows } from "./use-log-rows";
import { useStageLogs } from "./use-stage-logs";

/** The value of the URL's parameter `log` for the log of all stages. */
const ALL = "all";

interface LogViewProps {
  deployment: Deployment;
  /** The stage that is selected. */
  stage: PipelineStage;
  /** Shows the log of all stages, also if the URL does not say so. */
  showAll: boolean;
}

/** Needs a key of the deployment. */
export function LogView({ deployment, stage, showAll }: LogViewProps) {
  const [params, setParams] = useSearchParams();
  const all = showAll || params.get("log") === ALL;
  const stages = useMemo(() => (all ? shownStages(deployment.stages) : [stage]), [all, deployment, stage]);
  const logs = useStageLogs(
    deployment,
    stages.filter(({ status }) => status !== StageStatus.STAGE_NOT_STARTED_YET),
  );
  const steps = useMemo(
    () => stages.map((shown): LogStep => ({ ...(logs.get(shown.id) ?? INITIAL_STATE), stage: shown })),
    [stages, logs],
  );
  const choose = (value: string) =>
    setParams(
      (current) => {
        const next = withParam(withParam(current, "line", []), "log", value === ALL ? [ALL] : []);
        // Of a stage that the deployment does not have, there is no log.
        return showAll ? withParam(next, "stage", [stage.id]) : next;
      },
      { replace: true },
    );
  // The line is one of a stage that the deployment does not have.
  const line = showAll ? "" : (params.get("line") ?? "");
  const linksToError = line === "error";
  return (
    // The key resets position and search when another log is shown.
    <Log
      key={all ? ALL : `${stage.id} ${String(linksToError)}`}
      steps={steps}
      selected={stage.id}
      line={line}
      active={all ? !isDeploymentCompleted(deployment.status) : !isStageCompleted(stage.status)}
      grouped={all}
      title={all ? deployment.applicationName : stage.name}
      file={`${[deployment.id, ...(all ? [] : [String(stage.index + 1), stage.name])].join("-")}.log`}
      scope={
        deployment.stages.length > 1 && (
          <SegmentedControl
            size="xs"
            aria-label="Log of"
            data={[
              { value: "", label: "Stage" },
              { value: ALL, label: "All stages" },
            ]}
            value={all ? ALL : ""}
            onChange={choose}
          />
        )
      }
    />
  );
}

interface LogProps {
  steps: readonly LogStep[];
  /** The ID of the selected stage. */
  selected: string;
  /** The line of it that the URL links to: a number from 1, `error`, or empty. */
  line: string;
  /** More lines may come. */
  active: boolean;
  /** Whether each step has a heading. */
  grouped: boolean;
  title: string;
  /** Name of the downloaded file. */
  file: string;
  scope: ReactNode;
}

function Log({ steps, selected, line, active, grouped, title, file, scope }: LogProps) {
  const [params] = useSearchParams();
  const [search, setSearch] = useState("");
  const [matchIndex, setMatchIndex] = useState(0);
  const [showTimes, setShowTimes] = useLocalStorage({ key: "pipecd:log-times", defaultValue: false });
  const [wrap, setWrap] = useLocalStorage({ key: "pipecd:log-wrap", defaultValue: false });
  const [full, setFull] = useState(false);
  const link = useLink(steps, selected, line);
  const { firstError } = link;
  const linked = steps[link.step];
  const [folding, setFolding] = useState<Folding>(link.requested ? { [selected]: false } : {});
  const [followedLink, setFollowedLink] = useState(link.id);
  if (followedLink !== link.id) {
    setFollowedLink(link.id);
    setFolding({ ...folding, [selected]: false });
  }
  const layout = useMemo(() => layoutRows(steps, grouped, folding), [steps, grouped, folding]);
  const matches = useMemo(() => findAllMatches(steps, search), [steps, search]);
  const rowHeight = (index: number) => (layout.at(index)?.line === -1 ? HEADING_HEIGHT : LINE_HEIGHT);
  const headingOf = (index: number) => {
    const row = grouped ? layout.at(index) : undefined;
    return row ? layout.indexOf({ step: row.step, line: -1 }) : -1;
  };
  const { scrollElement, rows, stickyIndex, isFollowing, setFollowing, scrollTo, scrollToEnd, onScroll } = useLogRows(
    layout.count,
    layout,
    { active, follow: active && !line, rowHeight, headingOf },
  );
  // The heights of the rows are stored by index.
  useEffect(() => rows.measure(), [rows, wrap, grouped, folding]);
  useWindowEvent("keydown", (event) => {
    if (event.key === "Escape" && !event.defaultPrevented) setFull(false);
  });

  /** The row to show as soon as it exists: it may be on a page that is not loaded yet, or in a folded step. */
  const pending = useRef<LogRow | "link" | null>(null);
  const linkTarget = link.row ?? (grouped && !link.line ? { step: link.step, line: -1 } : null);
  useEffect(() => {
    if (link.requested) pending.current = "link";
  }, [link.requested, link.id]);
  useEffect(() => {
    if (pending.current === "link" && link.isMissing) {
      pending.current = null;
      if (grouped) rows.scrollToIndex(layout.indexOf({ step: link.step, line: link.lastLine }), { align: "center" });
      else scrollToEnd();
      scrollElement.current?.scrollIntoView({ block: "nearest" });
      return;
    }
    const row = pending.current === "link" ? linkTarget : pending.current;
    const index = row ? layout.indexOf(row) : -1;
    if (!row || index < 0) return;
    rows.scrollToIndex(index, { align: row.line < 0 ? "start" : "center" });
    scrollElement.current?.scrollIntoView({ block: "nearest" });
    // The steps above may still become longer.
    if (steps.slice(0, row.step + 1).every(isCaughtUp)) pending.current = null;
  });
  const forgetTarget = () => {
    pending.current = null;
  };
  useWindowEvent("wheel", forgetTarget);
  useWindowEvent("pointerdown", forgetTarget);
  const show = (row: LogRow) => {
    const step = steps[row.step];
    if (!grouped || !step || !isFolded(step, folding)) {
      scrollTo(layout.indexOf(row));
      scrollElement.current?.scrollIntoView({ block: "nearest" });
    } else {
      pending.current = row;
      setFolding({ ...folding, [step.stage.id]: false });
    }
  };

  const stepMatch = (by: number) => {
    const next = (matchIndex + by + matches.length) % matches.length;
    setMatchIndex(next);
    if (matches[next]) show(matches[next]);
  };
  const changeSearch = (text: string) => {
    setSearch(text);
    setMatchIndex(0);
    const first = findAllMatches(steps, text)[0];
    if (first) show(first);
  };
  const toggleAll = () => {
    const fold = steps.some(({ stage }) => !isFolded({ stage }, folding));
    setFolding(Object.fromEntries(steps.map(({ stage }) => [stage.id, fold])));
  };
  const currentMatch = search ? matches[matchIndex] : undefined;
  const [only] = steps;
  const rowCount = active ? -1 : layout.count;
  const empty = !grouped && only && only.log.lines.length === 0 ? emptyStepText(only) : "";

  return (
    <FocusTrap active={full}>
      <div className={classes.frame} data-full={full || undefined} role={full ? "dialog" : undefined} aria-label={full ? `Log of ${title}` : undefined}>
        <LogTools
          scope={scope}
          title={full ? title : ""}
          steps={steps}
          file={file}
          grouped={grouped}
          anyUnfolded={steps.some(({ stage }) => !isFolded({ stage }, folding))}
          toggleAll={toggleAll}
          search={search}
          changeSearch={changeSearch}
          matches={matches.length}
          matchIndex={matchIndex}
          stepMatch={stepMatch}
          showFirstError={firstError ? () => show(firstError) : undefined}
          scrollToEnd={scrollToEnd}
          follow={active ? [isFollowing, setFollowing] : null}
          times={[showTimes, setShowTimes]}
          wrap={[wrap, setWrap]}
          full={[full, setFull]}
        />
        {link.isMissing && (
          <div className={classes.missing}>
            <LinkNotice to={{ search: withParam(params, "line", []).toString() }}>
              The log of {linked?.stage.name} has no {line === "error" ? "error" : `line ${line}`}
              {isStageCompleted(linked?.stage.status ?? 0) ? "" : " yet"}. Its end is shown.
            </LinkNotice>
          </div>
        )}
        {/* A scrollable region must be reachable by keyboard. */}
        <div
          ref={scrollElement}
          className={classes.scroll}
          // A log is dark in both colour schemes.
          data-mantine-color-scheme="dark"
          role="log"
          aria-label={grouped ? "Log of all stages" : "Stage log"}
          aria-live="off"
          // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex
          tabIndex={0}
          onScroll={onScroll}
        >
          {empty && <Text className={classes.empty}>{empty}</Text>}
          <div
            role={layout.count > 0 ? "list" : undefined}
            className={classes.lines}
            data-wrap={wrap || undefined}
            style={{ height: rows.getTotalSize() }}
          >
            {rows.getVirtualItems().map((item) => {
              const row = layout.at(item.index);
              const step = row && steps[row.step];
              if (!step) return null;
              const style = { transform: `translateY(${item.start}px)` };
              const place = { "aria-posinset": item.index + 1, "aria-setsize": rowCount };
              if (row.line < 0) {
                return (
                  <StepHeading
                    key={item.key}
                    place={place}
                    step={step}
                    folded={isFolded(step, folding)}
                    sticky={item.index === stickyIndex}
                    style={item.index === stickyIndex ? {} : style}
                    toggle={() => setFolding({ ...folding, [step.stage.id]: !isFolded(step, folding) })}
                  />
                );
              }
              const line = step.log.lines[row.line];
              if (!line) return <NoteRow key={item.key} place={place} style={style} text={emptyStepText(step)} />;
              return (
                <LineRow
                  key={item.key}
                  index={item.index}
                  rowCount={rowCount}
                  measure={wrap ? rows.measureElement : undefined}
                  line={line}
                  number={row.line + 1}
                  stageId={step.stage.id}
                  search={search}
                  showTime={showTimes}
                  current={isSame(row, currentMatch) || isSame(row, link.row)}
                  top={item.start}
                />
              );
            })}
          </div>
        </div>
      </div>
    </FocusTrap>
  );
}

const isSame = (row: LogRow, other: LogRow | null | undefined): boolean =>
  other?.step === row.step && other.line === row.line;

const findAllMatches = (steps: readonly LogStep[], search: string): LogRow[] =>
  search ? steps.flatMap(({ log }, step) => findMatches(log.lines, search).map((line) => ({ step, line }))) : [];

/** The first line that reports an error; null if there is none. */
function findError(steps: readonly LogStep[]): LogRow | null {
  for (const [step, { log }] of steps.entries()) {
    const line = findFirstError(log.lines);
    if (line >= 0) return { step, line };
  }
  return null;
}

/** What the URL links to: a stage, and a line of it. `error` is the first error of the stage, or else of any stage. */
function useLink(steps: readonly LogStep[], selected: string, line: string) {
  const [params] = useSearchParams();
  const step = steps.findIndex(({ stage }) => stage.id === selected);
  const firstError = useMemo(() => findError(steps), [steps]);
  const row = useMemo((): LogRow | null => {
    if (line === "error") {
      const own = findFirstError(steps[step]?.log.lines ?? []);
      return own >= 0 ? { step, line: own } : firstError;
    }
    const number = Number(line);
    return step >= 0 && Number.isSafeInteger(number) && number > 0 ? { step, line: number - 1 } : null;
  }, [steps, step, line, firstError]);
  return {
    id: `${selected} ${line}`,
    requested: params.has("stage") || line !== "",
    step,
    line,
    row,
    firstError,
    isMissing: isMissing(steps, step, line, row),
    /** The index of the last line of the stage. */
    lastLine: Math.max(0, (steps[step]?.log.lines.length ?? 0) - 1),
  };
}

/** Whether the line that the URL links to is not there, as far as the log has been written. */
function isMissing(steps: readonly LogStep[], step: number, line: string, row: LogRow | null): boolean {
  const linked = steps[step];
  if (!linked) return false;
  if (line === "error") return row === null && steps.every(isRead);
  return row !== null && isRead(linked) && row.line >= linked.log.lines.length;
}

const isRead = (step: LogStep): boolean => isCaughtUp(step) && !step.error;
