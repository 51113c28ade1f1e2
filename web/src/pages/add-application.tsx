// Registers an application: one that a piped found in Git, or any directory by hand.

import { Alert, Button, Group, Select, Skeleton, Stack, TagsInput, Text, TextInput } from "@mantine/core";
import { IconFolderSearch } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate } from "react-router";

import { sentence, web } from "../api";
import { isLabel } from "../filters";
import { Labels } from "../parts/labels";
import { NothingHere } from "../parts/nothing-here";
import { PageHead } from "../parts/page-head";
import { Problem } from "../parts/problem";
import { Section } from "../parts/section";
import { key, pipedsQuery, suggestionsQuery } from "../queries";
import type { ApplicationInfo } from "../schema/model/application_pb";
import { ApplicationKind } from "../schema/model/kind_pb";
import type { Piped } from "../schema/model/piped_pb";
import { kindName, KINDS } from "../words";

const CONFIG_FILENAME = "app.pipecd.yaml";

interface Wanted {
  name: string;
  pipedId: string;
  kind: ApplicationKind;
  platformProvider: string;
  repoId: string;
  path: string;
  configFilename: string;
  labels: Record<string, string>;
  description: string;
}

const NOTHING: Wanted = {
  name: "",
  pipedId: "",
  kind: ApplicationKind.TERRAFORM,
  platformProvider: "",
  repoId: "",
  path: "",
  configFilename: CONFIG_FILENAME,
  labels: {},
  description: "",
};

export function AddApplicationPage() {
  const [wanted, setWanted] = useState<Wanted>(NOTHING);
  const pipeds = useQuery(pipedsQuery);
  return (
    <Stack gap="lg">
      <PageHead title="Add an application" from={{ text: "Applications", to: "/applications" }} />
      {pipeds.data ? (
        <>
          <Suggestions pipeds={pipeds.data} choose={(info) => setWanted(fromSuggestion(info, pipeds.data))} />
          <Form wanted={wanted} change={(part) => setWanted((before) => ({ ...before, ...part }))} pipeds={pipeds.data} />
        </>
      ) : pipeds.isError ? (
        <Problem title="The pipeds could not be loaded" error={pipeds.error} retry={() => pipeds.refetch()} />
      ) : (
        <Skeleton height={320} role="status" aria-label="Loading" />
      )}
    </Stack>
  );
}

function fromSuggestion(info: ApplicationInfo, pipeds: readonly Piped[]): Wanted {
  const piped = pipeds.find((each) => each.id === info.pipedId);
  return {
    name: info.name,
    pipedId: info.pipedId,
    kind: info.kind,
    platformProvider: providersFor(piped, info.kind)[0] ?? "",
    repoId: info.repoId,
    path: info.path,
    configFilename: info.configFilename || CONFIG_FILENAME,
    labels: info.labels,
    description: info.description,
  };
}

/** The names of a piped's platform providers that fit a kind. */
function providersFor(piped: Piped | undefined, kind: ApplicationKind): string[] {
  const providers = piped?.platformProviders ?? [];
  return providers.filter((each) => each.type === ApplicationKind[kind]).map((each) => each.name);
}

function Suggestions({ pipeds, choose }: { pipeds: readonly Piped[]; choose: (info: ApplicationInfo) => void }) {
  const found = useQuery(suggestionsQuery);
  if (!found.data) return null;
  return (
    <Section title="Found in Git">
      {found.data.length === 0 ? (
        <NothingHere title="Nothing new was found" icon={<IconFolderSearch size={32} stroke={1.5} />}>
          Commit an <span className="mono">{CONFIG_FILENAME}</span> to a repository of a piped, and it is suggested here.
          Every application that is in Git already is registered.
        </NothingHere>
      ) : (
        <Stack gap="sm">
          {found.data.map((info) => (
            <Group key={`${info.pipedId}/${info.repoId}/${info.path}/${info.configFilename}`} justify="space-between">
              <div style={{ minWidth: 0 }}>
                <Text fw={600}>{info.name}</Text>
                <Text size="sm" className="faint">
                  {kindName(info.kind)} ·{" "}
                  <span className="mono">
                    {info.repoId}:{info.path}
                  </span>{" "}
                  · {pipeds.find((each) => each.id === info.pipedId)?.name ?? info.pipedId}
                </Text>
                <Labels labels={info.labels} />
              </div>
              <Button size="xs" variant="default" onClick={() => choose(info)}>
                Fill in
              </Button>
            </Group>
          ))}
        </Stack>
      )}
    </Section>
  );
}

interface FormProps {
  wanted: Wanted;
  change: (part: Partial<Wanted>) => void;
  pipeds: readonly Piped[];
}

function Form({ wanted, change, pipeds }: FormProps) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const piped = pipeds.find((each) => each.id === wanted.pipedId);
  const providers = providersFor(piped, wanted.kind);
  const adding = useMutation({
    mutationFn: () =>
      web.addApplication({
        name: wanted.name.trim(),
        pipedId: wanted.pipedId,
        kind: wanted.kind,
        platformProvider: wanted.platformProvider,
        gitPath: {
          repo: { id: wanted.repoId },
          path: wanted.path.trim().replace(/^\.?\//, "").replace(/\/$/, ""),
          configFilename: wanted.configFilename.trim(),
        },
        labels: wanted.labels,
        description: wanted.description,
      }),
    onSuccess: async (answer) => {
      await client.invalidateQueries({ queryKey: key.applications });
      await navigate(`/applications/${answer.applicationId}`);
    },
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    adding.mutate();
  };
  const complete = wanted.name.trim() && wanted.pipedId && wanted.repoId && wanted.path.trim() && wanted.platformProvider;
  return (
    <Section title="By hand">
      <form onSubmit={submit}>
        <Stack gap="md" maw={620}>
          <TextInput
            label="Name"
            required
            value={wanted.name}
            onChange={(event) => change({ name: event.currentTarget.value })}
          />
          <Select
            label="Piped"
            description={pipeds.length === 0 ? "Register one first, on the page Pipeds." : "The agent that deploys it."}
            required
            allowDeselect={false}
            data={pipeds.filter((each) => !each.disabled).map((each) => ({ value: each.id, label: each.name }))}
            value={wanted.pipedId || null}
            onChange={(value) => change({ pipedId: value ?? "", repoId: "", platformProvider: "" })}
          />
          <Select
            label="Kind"
            required
            allowDeselect={false}
            data={KINDS.map((kind) => ({ value: String(kind), label: kindName(kind) }))}
            value={String(wanted.kind)}
            onChange={(value) => change({ kind: Number(value), platformProvider: "" })}
          />
          <Select
            label="Platform provider"
            description={
              piped && providers.length === 0
                ? `${piped.name} has none for ${kindName(wanted.kind)}; add one to its configuration.`
                : "One of the piped's configuration."
            }
            required
            allowDeselect={false}
            data={providers}
            value={wanted.platformProvider || null}
            onChange={(value) => change({ platformProvider: value ?? "" })}
          />
          <Select
            label="Repository"
            description={
              piped && piped.repositories.length === 0
                ? `${piped.name} has not reported its repositories yet. Is it running?`
                : "One of the piped's configuration."
            }
            required
            allowDeselect={false}
            data={(piped?.repositories ?? []).map((each) => ({ value: each.id, label: `${each.id} · ${each.branch}` }))}
            value={wanted.repoId || null}
            onChange={(value) => change({ repoId: value ?? "" })}
          />
          <TextInput
            label="Directory"
            description="From the root of the repository."
            placeholder="apps/checkout"
            required
            value={wanted.path}
            onChange={(event) => change({ path: event.currentTarget.value })}
          />
          <TextInput
            label="Configuration file"
            required
            value={wanted.configFilename}
            onChange={(event) => change({ configFilename: event.currentTarget.value })}
          />
          <TagsInput
            label="Labels"
            description="Written key:value. The file in Git replaces them once it is read."
            value={Object.entries(wanted.labels).map(([name, value]) => `${name}:${value}`)}
            onChange={(values) => change({ labels: labelsOf(values) })}
          />
          {adding.isError && (
            <Alert color="red" role="alert">
              {sentence(adding.error)}
            </Alert>
          )}
          <Group justify="flex-end">
            <Button type="submit" loading={adding.isPending} disabled={!complete}>
              Add
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}

function labelsOf(values: readonly string[]): Record<string, string> {
  const pairs = values.filter(isLabel).map((text) => {
    const colon = text.indexOf(":");
    return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()] as const;
  });
  return Object.fromEntries(pairs);
}
