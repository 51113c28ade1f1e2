// The events of the project, newest first, and what each event watcher did with them.

import { Anchor, Button, Group, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import { Breakable } from "../components/breakable";
import { CommitHash } from "../components/commit";
import { CopyBlock } from "../components/copy";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { FilterSelect, LabelFilter } from "../components/filter-select";
import { Labels } from "../components/labels";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { SearchField } from "../components/search-field";
import { StatusBadge, StatusIcon } from "../components/status";
import { RelativeTime } from "../components/time";
import { WebLink } from "../components/web-link";
import { eventStatusDisplay } from "../display-names";
import { eventFilter, isFiltered, slug, withoutFilters, withParam } from "../filters";
import { PipectlCommand } from "../features/first-steps/pipectl-command";
import { groupBy } from "../group-by";
import { IconBolt, IconFilterOff } from "../icons";
import { eventsQuery, pipedsQuery } from "../queries";
import { type Event, type EventResult, EventStatus } from "../schema/model/event_pb";
import { formatDay } from "../time";
import classes from "./events.module.css";

const STATUSES = Object.values(EventStatus).filter((value) => typeof value === "number");
const STATUS_OPTIONS = STATUSES.map((status) => ({
  value: slug(EventStatus, status),
  label: eventStatusDisplay(status).text,
}));
/** Results of an event that are shown before a click. */
const RESULTS_SHOWN = 5;

export function EventsPage() {
  return (
    <Stack gap="lg">
      <PageHeader title="Events" description="New values, such as images, that event watchers write into Git." />
      <Filters />
      <List />
    </Stack>
  );
}

function Filters() {
  const [params, setParams] = useSearchParams();
  const setValues = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  return (
    <Group gap="xs" role="search" aria-label="Filter events">
      <SearchField label="Search by name" value={params.get("q") ?? ""} onSearch={(text) => setValues("q")([text])} />
      <FilterSelect
        label="Any status"
        options={STATUS_OPTIONS}
        selected={params.getAll("status")}
        onChange={setValues("status")}
      />
      <LabelFilter selected={params.getAll("label")} onChange={setValues("label")} />
      {isFiltered(params) && (
        <Button variant="subtle" size="compact-sm" onClick={() => setParams(withoutFilters(params), { replace: true })}>
          Clear filters
        </Button>
      )}
    </Group>
  );
}

function List() {
  const [params] = useSearchParams();
  const page = useQuery(eventsQuery(eventFilter(params), params.get("after") ?? ""));
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading events" />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The events could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { events, cursor } = page.data;
  if (events.length === 0) return <Empty />;
  const days = groupBy(events, (event) => formatDay(Number(event.createdAt)));
  return (
    <Stack gap="lg" aria-busy={page.isPlaceholderData}>
      {[...days].map(([day, eventsOfDay]) => (
        <section key={day} aria-label={day}>
          <Text component="h2" size="sm" fw={600} className="faint" mb={6}>
            {day}
          </Text>
          <div className="panel">
            <ul role="list" className={classes.list}>
              {eventsOfDay.map((event) => (
                <Row key={event.id} event={event} />
              ))}
            </ul>
          </div>
        </section>
      ))}
      <Pagination nextCursor={cursor} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
    </Stack>
  );
}

function Row({ event }: { event: Event }) {
  return (
    <li className={classes.row}>
      <div>
        <StatusBadge status={eventStatusDisplay(event.status)} />
      </div>
      <div className={classes.summary}>
        <Link to={`/events?q=${encodeURIComponent(event.name)}`} className={classes.name}>
          {event.name}
        </Link>
        <Text component="div" className={`mono ${classes.data ?? ""}`} title={event.data.slice(0, 2000)}>
          <Breakable text={event.data.slice(0, 500)} />
        </Text>
        <Labels labels={event.labels} list="/events" />
        <Results event={event} />
      </div>
      <div className={classes.time}>
        <RelativeTime at={event.createdAt} />
        {event.triggerCommitHash && (
          <span title="The commit that caused the event">
            from <CommitHash hash={event.triggerCommitHash} />
          </span>
        )}
      </div>
    </li>
  );
}

function Results({ event }: { event: Event }) {
  const [isOpen, setOpen] = useState(false);
  const { results } = event;
  const note = noteOf(event);
  const shown = isOpen ? results : results.slice(0, RESULTS_SHOWN);
  return (
    <>
      {shown.length > 0 && (
        <ul role="list" className={classes.results} aria-label={`Results of ${event.name}`}>
          {shown.map((result) => (
            <Result key={`${result.pipedId} ${result.repoId} ${result.watcher}`} result={result} />
          ))}
        </ul>
      )}
      {shown.length < results.length && (
        <Anchor component="button" size="sm" onClick={() => setOpen(true)}>
          Show all {results.length} results
        </Anchor>
      )}
      {note && (
        <Text size="sm" className="faint">
          {note}
        </Text>
      )}
    </>
  );
}

/** What is to be said besides the results. */
function noteOf(event: Event): string {
  const isWaiting = event.status === EventStatus.EVENT_NOT_HANDLED;
  if (event.results.length === 0) {
    // Agents of PipeCD report one sentence for the whole event.
    return isWaiting ? "No event watcher has handled it. An application watches it with spec.eventWatcher." : event.statusDescription;
  }
  return isWaiting ? "Other event watchers have not handled it yet." : "";
}

function Result({ result }: { result: EventResult }) {
  const pipeds = useQuery(pipedsQuery);
  const piped = pipeds.data?.find(({ id }) => id === result.pipedId)?.name ?? result.pipedId;
  const isWritten = result.status === EventStatus.EVENT_SUCCESS && result.commitHash !== "";
  return (
    <li className={classes.result}>
      <StatusIcon status={eventStatusDisplay(result.status)} size={16} />
      <div className={classes.outcome}>
        <span className={classes.watcher} title={`${result.watcher} in ${result.repoId}, by ${piped}`}>
          {result.name || result.watcher}
        </span>{" "}
        <span className="faint">{result.repoId}</span>
        {result.pullRequestUrl && (
          <>
            {" · "}
            <WebLink url={result.pullRequestUrl}>Pull request</WebLink>
          </>
        )}
        {result.commitHash && (
          <>
            {" · "}
            <CommitHash hash={result.commitHash} url={result.commitUrl} />
            {result.branch && <span className="faint"> on {result.branch}</span>}
          </>
        )}
        {!isWritten && result.description && (
          <Text
            size="sm"
            component="div"
            className={result.status === EventStatus.EVENT_FAILURE ? classes.error : "faint"}
            data-tone={result.status === EventStatus.EVENT_FAILURE ? "bad" : undefined}
          >
            {result.description}
          </Text>
        )}
      </div>
    </li>
  );
}

const REGISTER = `--api-key-file=key.txt \\
  --name=image-built --labels=app=shop --data=registry.example.com/shop:v1.2.0`;
const WATCH = `spec:
  eventWatcher:
    - matcher:
        name: image-built
        labels: {app: shop}
      handler:
        type: GIT_UPDATE
        config:
          replacements:
            - file: deployment.yaml
              yamlField: $.spec.template.spec.containers[0].image`;

function Empty() {
  const [params, setParams] = useSearchParams();
  if (isFiltered(params) || params.has("after")) {
    return (
      <EmptyState
        title="No matching events"
        icon={<IconFilterOff size={36} stroke={1.5} />}
        action={
          <Button variant="default" mt="sm" onClick={() => setParams(withoutFilters(params))}>
            Clear filters
          </Button>
        }
      >
        No event matches all filters. Remove a filter.
      </EmptyState>
    );
  }
  return (
    <EmptyState
      title="No events yet"
      icon={<IconBolt size={36} stroke={1.5} />}
      action={
        <Stack ta="left" maw={720} w="100%" mt="sm" gap="xs">
          <Text size="sm">CI registers an event, with an API key:</Text>
          <PipectlCommand command="event register" options={REGISTER} label="Command: Register an event" />
          <Text size="sm">The application's configuration file says where the value belongs:</Text>
          <CopyBlock text={WATCH} label="Configuration: Watch the event" />
        </Stack>
      }
    >
      An event says that something has a new value, for example that CI built an image. The piped writes the value into
      Git, and the commit is deployed.
    </EmptyState>
  );
}
