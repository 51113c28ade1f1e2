// What the agent reads about one resource when a user opens it: the live manifest, what Git declares, their
// difference, events, and the logs of a pod's containers. For the inside of a drawer.

import { Alert, Badge, List, Skeleton, Stack, Tabs, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { errorMessage } from "../../../api";
import { CopyIcon } from "../../../components/copy";
import { Diff } from "../../../components/diff";
import { RelativeTime } from "../../../components/time";
import { applicationQuery, resourceQuery } from "../../../queries";
import { ConsoleService } from "../../../schema/pipecd/v1/console_pb";
import type { ResourceDetails as Details, ResourceEvent } from "../../../schema/pipecd/v1/details_pb";
import { useMay } from "../../../use-may";
import { ContainerLogView } from "./container-log-view";
import classes from "./details.module.css";

interface ResourceDetailsProps {
  applicationId: string;
  /** The ID of the resource in the application's live state. */
  resourceId: string;
}

export function ResourceDetails({ applicationId, resourceId }: ResourceDetailsProps) {
  const { data, error, isPending } = useQuery(resourceQuery(applicationId, resourceId));
  if (!data && error) {
    return (
      <Alert color="gray" variant="light" title="No details" role="alert">
        {errorMessage(error)}
      </Alert>
    );
  }
  if (isPending || !data) return <Skeleton height={180} role="status" aria-label="Loading details" />;
  return (
    <Stack gap="sm">
      {error && (
        <Alert color="yellow" variant="light" role="alert">
          {errorMessage(error)} What is shown may be out of date.
        </Alert>
      )}
      <Notes notes={data.notes} />
      {/* The key selects the first tab for another resource. */}
      <DetailsTabs key={resourceId} details={data} applicationId={applicationId} resourceId={resourceId} />
    </Stack>
  );
}

function Notes({ notes }: { notes: readonly string[] }) {
  if (notes.length === 0) return null;
  return (
    <Alert color="gray" variant="light">
      <List size="sm" role={notes.length > 1 ? undefined : "list"}>
        {notes.map((note) => (
          <List.Item key={note}>{note}</List.Item>
        ))}
      </List>
    </Alert>
  );
}

function DetailsTabs({ details, applicationId, resourceId }: ResourceDetailsProps & { details: Details }) {
  const application = useQuery(applicationQuery(applicationId)).data?.record;
  const may = useMay();
  const mayRead = application && may(ConsoleService.method.followContainerLog, application);
  const warnings = details.events.filter(({ warning }) => warning).length;
  return (
    <Tabs defaultValue="live" keepMounted={false}>
      <Tabs.List mb="sm">
        <Tabs.Tab value="live">Live</Tabs.Tab>
        <Tabs.Tab value="git">Git</Tabs.Tab>
        <Tabs.Tab value="difference" rightSection={details.difference && <Count color="yellow">!</Count>}>
          Difference
        </Tabs.Tab>
        <Tabs.Tab
          value="events"
          rightSection={
            details.events.length > 0 && <Count color={warnings ? "red" : "gray"}>{details.events.length}</Count>
          }
        >
          Events
        </Tabs.Tab>
        {details.containers.length > 0 && mayRead && <Tabs.Tab value="logs">Logs</Tabs.Tab>}
      </Tabs.List>
      <Tabs.Panel value="live">
        <Manifest text={details.live} label="live manifest" missing="The resource does not exist." />
      </Tabs.Panel>
      <Tabs.Panel value="git">
        <Manifest
          text={details.git}
          label="manifest of Git"
          missing="Git does not declare this resource: another resource or a controller created it."
        />
        {details.git && details.commit && (
          <Text size="xs" className="faint" mt="xs">
            At commit {details.commit.slice(0, 7)}
          </Text>
        )}
      </Tabs.Panel>
      <Tabs.Panel value="difference">
        {details.difference ? (
          <Diff text={details.difference} />
        ) : (
          <Text size="sm">
            {details.git ? "A sync would change nothing." : "Git does not declare this resource."}
          </Text>
        )}
      </Tabs.Panel>
      <Tabs.Panel value="events">
        <Events events={details.events} />
      </Tabs.Panel>
      <Tabs.Panel value="logs">
        <ContainerLogView applicationId={applicationId} resourceId={resourceId} containers={details.containers} />
      </Tabs.Panel>
    </Tabs>
  );
}

function Count({ color, children }: { color: string; children: string | number }) {
  return (
    <Badge size="xs" variant="light" color={color}>
      {children}
    </Badge>
  );
}

function Manifest({ text, label, missing }: { text: string; label: string; missing: string }) {
  if (!text) return <Text size="sm">{missing}</Text>;
  return (
    <div className={classes.manifest}>
      <div className={classes.copy}>
        <CopyIcon text={text} label={label} />
      </div>
      {/* A scrollable region must be reachable by keyboard. */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <pre className={classes.text} aria-label={label} tabIndex={0}>
        {text}
      </pre>
    </div>
  );
}

function Events({ events }: { events: readonly ResourceEvent[] }) {
  if (events.length === 0) return <Text size="sm">No events were reported recently.</Text>;
  return (
    <table className={classes.events} aria-label="Events">
      <thead>
        <tr>
          <th scope="col">Last seen</th>
          <th scope="col">Reason</th>
          <th scope="col">Message</th>
        </tr>
      </thead>
      <tbody>
        {events.map((event, index) => (
          <tr key={index}>
            <td>
              <RelativeTime at={event.lastAt} />
              {event.count > 1 && (
                <Text size="xs" className="faint">
                  {event.count} times
                </Text>
              )}
            </td>
            <td>
              <Text size="sm" c={event.warning ? "red" : undefined} fw={event.warning ? 600 : undefined}>
                {event.reason}
              </Text>
              <Text size="xs" className="faint">
                {event.source}
              </Text>
            </td>
            <td className={classes.message}>{event.message}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
