// The audit log of the project: who changed what, when and from where. For project administrators.

import { Alert, Button, Group, Skeleton, Stack, Table, Text, TextInput, UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useSearchParams } from "react-router";

import { consoleClient, errorMessage } from "../api";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { FilterSelect } from "../components/filter-select";
import { PageHeader } from "../components/page-header";
import { Pagination } from "../components/pagination";
import { SearchField } from "../components/search-field";
import { RelativeTime } from "../components/time";
import { isFiltered, withoutFilters, withParam } from "../filters";
import { IconFileText, IconFilterOff } from "../icons";
import type { AuditChange, AuditEntry } from "../schema/pipecd/v1/audit_pb";
import { AUDIT, isDay } from "../page-params";
import { key } from "../queries";
import classes from "./audit-log.module.css";

const ENTRIES_PER_PAGE = 50;
/** Of whom entries are shown: without a choice, those of people. Pipeds and jobs write most of the log. */
const ACTORS = [
  { value: "person", label: "People" },
  { value: "api_key", label: "API keys" },
  { value: "operator", label: "Operators" },
  { value: "piped", label: "Pipeds" },
  { value: "job", label: "Jobs" },
];
const PEOPLE = ["person", "api_key", "operator"];
const OPERATIONS = [
  { value: "create", label: "Created" },
  { value: "update", label: "Changed" },
  { value: "delete", label: "Deleted" },
  { value: "refuse", label: "Refused" },
];
const OBJECTS = [
  { value: "application", label: "Applications" },
  { value: "deployment", label: "Deployments" },
  { value: "command", label: "Commands" },
  { value: "piped", label: "Pipeds" },
  { value: "api_key", label: "API keys" },
  { value: "project", label: "Project" },
  { value: "session", label: "Sign-ins" },
  { value: "event", label: "Events" },
];

export function AuditLogPage() {
  return (
    <Stack gap="lg">
      <PageHeader
        title="Audit log"
        description="Every change in this project: who made it, when, from where, and what it was before. Entries cannot be changed."
        actions={<VerifyButton />}
      />
      <Filters />
      <List />
    </Stack>
  );
}

function Filters() {
  const [params, setParams] = useSearchParams();
  const setValues = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  const [from, to] = [params.get("from") ?? "", params.get("to") ?? ""];
  const date = (name: string, label: string, error?: string) => (
    <TextInput
      type="date"
      aria-label={`${label} this day`}
      leftSection={
        <Text size="sm" className="faint" aria-hidden>
          {label}
        </Text>
      }
      leftSectionWidth={56}
      leftSectionProps={{ style: { justifyContent: "start", paddingInlineStart: "var(--mantine-spacing-sm)" } }}
      value={params.get(name) ?? ""}
      error={error}
      onChange={(event) => setValues(name)([event.currentTarget.value])}
      style={{ flex: "1 1 160px" }}
    />
  );
  return (
    <Group gap="xs" role="search" aria-label="Filter the audit log">
      <SearchField label="Search the log" value={params.get("q") ?? ""} onSearch={(text) => setValues("q")([text])} />
      <FilterSelect label="People and keys" options={ACTORS} selected={params.getAll("by")} onChange={setValues("by")} />
      <FilterSelect
        label="Any object"
        options={OBJECTS}
        selected={params.getAll("object").slice(0, 1)}
        onChange={(values) => setValues("object")(values.slice(-1))}
      />
      <FilterSelect
        label="Any change"
        options={OPERATIONS}
        selected={params.getAll("change")}
        onChange={setValues("change")}
      />
      {date("from", "From")}
      {date("to", "To", from && to && to < from ? "Before the first day: choose a later one." : undefined)}
      {isFiltered(params) && (
        <Button
          variant="subtle"
          size="compact-sm"
          onClick={() => setParams(withoutFilters(params), { replace: true })}
        >
          Clear filters
        </Button>
      )}
    </Group>
  );
}

/** The start of a day in the browser's time zone, in seconds since 1970; 0 for no day. */
function startOfDay(day: string | null, daysLater = 0): bigint {
  const [year = NaN, month = NaN, date = NaN] = isDay(day ?? "") ? (day ?? "").split("-").map(Number) : [];
  const seconds = new Date(year, month - 1, date + daysLater).getTime() / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? BigInt(Math.floor(seconds)) : 0n;
}

function auditRequest(params: URLSearchParams) {
  const by = params.getAll("by").filter((value) => AUDIT.by.includes(value));
  return {
    search: params.get("q") ?? "",
    actor: params.get("actor") ?? "",
    actorKinds: by.length > 0 ? by : params.has("actor") || params.has("id") ? [] : PEOPLE,
    recordKind: params.get("object") ?? "",
    recordId: params.get("id") ?? "",
    operations: params.getAll("change").filter((value) => AUDIT.change.includes(value)),
    since: startOfDay(params.get("from")),
    until: startOfDay(params.get("to"), 1),
    cursor: params.get("after") ?? "",
    pageSize: ENTRIES_PER_PAGE,
  };
}

function List() {
  const [params, setParams] = useSearchParams();
  const request = auditRequest(params);
  const page = useQuery({
    queryKey: [...key.audit, params.toString()],
    queryFn: ({ signal }) => consoleClient.listAudit(request, { signal }),
    placeholderData: (previous) => (previous?.entries.length ? previous : undefined),
  });
  if (page.isPending) return <Skeleton height={320} role="status" aria-label="Loading the audit log" />;
  if (page.isError && !page.data) {
    return <ErrorAlert title="The audit log could not be loaded" error={page.error} retry={() => page.refetch()} />;
  }
  const { entries, nextCursor } = page.data;
  if (entries.length === 0 && !nextCursor) {
    return (
      <EmptyState title="No matching entries" icon={<IconFilterOff size={36} stroke={1.5} />}>
        No entry of the log matches all filters.
      </EmptyState>
    );
  }
  return (
    <Stack gap="lg" aria-busy={page.isPlaceholderData}>
      {(params.has("actor") || params.has("id")) && (
        <Alert variant="light" py="xs">
          <Group justify="space-between" gap="xs">
            <span>
              Showing only {params.has("actor") ? `what ${params.get("actor")} did` : `changes of ${params.get("id")}`}
            </span>
            <Button
              size="compact-sm"
              variant="subtle"
              onClick={() => setParams(withParam(withParam(params, "actor", []), "id", []))}
            >
              Show everything
            </Button>
          </Group>
        </Alert>
      )}
      {entries.length === 0 ? (
        <EmptyState title="Nothing found yet" icon={<IconFileText size={36} stroke={1.5} />}>
          No recent entry matches. Older entries have not been searched yet: choose Older.
        </EmptyState>
      ) : (
        <ol role="list" className={classes.entries}>
          {entries.map((entry) => (
            <Entry key={String(entry.id)} entry={entry} />
          ))}
        </ol>
      )}
      <Pagination nextCursor={nextCursor} labels={{ previous: "Newer", next: "Older" }} loading={page.isPlaceholderData} />
    </Stack>
  );
}

function Entry({ entry }: { entry: AuditEntry }) {
  const [, setParams] = useSearchParams();
  const [opened, setOpened] = useState(false);
  const id = `entry-${entry.id}`;
  const actor = entry.actorName || entry.actorId;
  return (
    <li className={classes.entry}>
      <div className={classes.line}>
        <span className={classes.time}>
          <RelativeTime at={entry.at / 1_000_000n} />
        </span>
        <div className={classes.sentence}>
          <UnstyledButton
            className={classes.actor}
            title={`Show only what ${actor} did`}
            onClick={() => setParams((current) => withParam(current, "actor", [actor]))}
          >
            {actor}
          </UnstyledButton>{" "}
          <span className={classes.summary} data-tone={entry.operation === "refuse" ? "bad" : undefined}>
            {entry.summary}
          </span>
        </div>
        <Text size="sm" className={`faint mono ${classes.address}`} title="Address">
          {entry.address}
        </Text>
        <Button
          size="compact-sm"
          variant="subtle"
          aria-expanded={opened}
          aria-controls={id}
          aria-label={`Details of ${actor} ${entry.summary}`}
          onClick={() => setOpened(!opened)}
        >
          Details
        </Button>
      </div>
      {opened && <Details id={id} entry={entry} />}
    </li>
  );
}

function Details({ id, entry }: { id: string; entry: AuditEntry }) {
  const [, setParams] = useSearchParams();
  return (
    <div id={id} className={classes.details}>
      {entry.changes.length > 0 && (
        <Table.ScrollContainer minWidth={420} type="native">
          <Table className={classes.changes} aria-label="Changed fields">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Field</Table.Th>
                <Table.Th>Before</Table.Th>
                <Table.Th>After</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {entry.changes.map((change) => (
                <ChangeRow key={change.path} change={change} />
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      )}
      <Text size="sm" className="faint" style={{ overflowWrap: "anywhere" }}>
        {entry.action} · {entry.recordKind}{" "}
        <UnstyledButton
          className={classes.actor}
          onClick={() => setParams((current) => withParam(current, "id", [entry.recordId]))}
          title="Show the history of this object"
        >
          {entry.recordId}
        </UnstyledButton>
        {entry.position > 0n && ` · entry ${entry.position} of the chain`}
      </Text>
    </div>
  );
}

function ChangeRow({ change }: { change: AuditChange }) {
  return (
    <Table.Tr>
      <Table.Td className="mono">{change.path}</Table.Td>
      <Table.Td className={`mono ${change.before === undefined ? "" : classes.removed}`}>
        {change.before ?? "–"}
      </Table.Td>
      <Table.Td className={`mono ${change.after === undefined ? "" : classes.added}`}>{change.after ?? "–"}</Table.Td>
    </Table.Tr>
  );
}

interface Verified {
  tone: "good" | "bad";
  text: string;
}

function VerifyButton() {
  const [result, setResult] = useState<Verified | null>(null);
  const [progress, setProgress] = useState("");
  const run = async () => {
    setResult(null);
    try {
      setResult(await verifyAll((verified, head) => setProgress(`${verified} of ${head}`)));
    } catch (error) {
      setResult({ tone: "bad", text: errorMessage(error) });
    }
    setProgress("");
  };
  return (
    <Group gap="sm" justify="flex-end">
      {result && (
        <Text size="sm" role="status" className={`toned ${classes.result}`} data-tone={result.tone}>
          {result.text}
        </Text>
      )}
      <Button variant="default" onClick={run} disabled={progress !== ""}>
        {progress ? `Verifying ${progress}` : "Verify the log"}
      </Button>
    </Group>
  );
}

async function verifyAll(report: (verified: bigint, head: bigint) => void): Promise<Verified> {
  let after: { afterPosition?: bigint; afterHash?: Uint8Array } = {};
  report(0n, 0n);
  for (;;) {
    const response = await consoleClient.verifyAudit(after);
    if (response.brokenReason) {
      return { tone: "bad", text: `Entry ${response.brokenPosition} is not genuine: ${response.brokenReason}.` };
    }
    if (response.completed) {
      const count = response.headPosition - response.anchorPosition;
      return { tone: "good", text: `All ${count} entries are unchanged.` };
    }
    report(response.verifiedPosition, response.headPosition);
    after = { afterPosition: response.verifiedPosition, afterHash: response.verifiedHash };
  }
}
