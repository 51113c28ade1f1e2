// Registers an application: one that a piped found in Git, or one entered manually.

import { Alert, Button, Group, Select, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { IconFolderSearch } from "../icons";
import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { useNavigate } from "react-router";

import { errorMessage, webClient } from "../api";
import { useChange } from "../changes";
import { Breakable } from "../components/breakable";
import { EmptyState } from "../components/empty-state";
import { ErrorAlert } from "../components/error-alert";
import { Problem } from "../components/form-dialog";
import { Labels } from "../components/labels";
import { LabelsInput } from "../components/labels-input";
import { PageHeader } from "../components/page-header";
import { Section } from "../components/section";
import { fieldErrors, useFocusOnError } from "../field-errors";
import { parseLabels } from "../filters";
import { wirePath } from "../git-path";
import { kindFields, kindName, kindsOf, providersFor } from "../kinds";
import { key, pipedsQuery, suggestionsQuery } from "../queries";
import type { Piped } from "../schema/model/piped_pb";
import type { InvalidFile } from "../schema/pipecd/v1/agent_pb";
import type { Suggestion } from "../schema/pipecd/v1/console_pb";
import { WebService } from "../schema/web/service_pb";
import { useMay } from "../use-may";

const CONFIG_FILENAME = "app.pipecd.yaml";

interface FormValues {
  name: string;
  pipedId: string;
  kind: string;
  platformProvider: string;
  repoId: string;
  path: string;
  configFilename: string;
  labels: Record<string, string>;
  description: string;
}

const EMPTY_FORM: FormValues = {
  name: "",
  pipedId: "",
  kind: "TERRAFORM",
  platformProvider: "",
  repoId: "",
  path: "",
  configFilename: CONFIG_FILENAME,
  labels: {},
  description: "",
};

export function AddApplicationPage() {
  const [values, setValues] = useState<FormValues>(EMPTY_FORM);
  const pipeds = useQuery(pipedsQuery);
  return (
    <Stack gap="lg">
      <PageHeader title="Add application" parent={{ text: "Applications", to: "/applications" }} />
      {pipeds.data ? (
        <>
          <Suggestions pipeds={pipeds.data} onSelect={(suggestion) => setValues(fromSuggestion(suggestion, pipeds.data))} />
          <Form
            values={values}
            onChange={(changes) => setValues((current) => ({ ...current, ...changes }))}
            pipeds={pipeds.data}
          />
        </>
      ) : pipeds.isError ? (
        <ErrorAlert title="The pipeds could not be loaded" error={pipeds.error} retry={() => pipeds.refetch()} />
      ) : (
        <Skeleton height={320} role="status" aria-label="Loading" />
      )}
    </Stack>
  );
}

function fromSuggestion({ application: info, kind }: Suggestion, pipeds: readonly Piped[]): FormValues {
  const piped = pipeds.find((candidate) => candidate.id === info?.pipedId);
  return {
    name: info?.name ?? "",
    pipedId: info?.pipedId ?? "",
    kind,
    platformProvider: providersFor(piped, kind)[0] ?? "",
    repoId: info?.repoId ?? "",
    path: info?.path ?? "",
    configFilename: info?.configFilename || CONFIG_FILENAME,
    labels: info?.labels ?? {},
    description: info?.description ?? "",
  };
}

function addRequest(values: FormValues) {
  return {
    name: values.name.trim(),
    pipedId: values.pipedId,
    ...kindFields(values.kind, values.platformProvider),
    gitPath: {
      repo: { id: values.repoId },
      path: wirePath(values.path),
      configFilename: values.configFilename.trim(),
    },
    labels: values.labels,
    description: values.description,
  };
}

const isComplete = (values: FormValues): boolean =>
  Boolean(values.name.trim() && values.pipedId && values.repoId && values.path.trim() && values.platformProvider);

/** Adds an application and opens its page. */
function useAddApplication() {
  const navigate = useNavigate();
  return useChange(
    (values: FormValues) => webClient.addApplication(addRequest(values)),
    [key.applications, key.suggestions],
    ({ applicationId }) => navigate(`/applications/${applicationId}`),
  );
}

interface SuggestionsProps {
  pipeds: readonly Piped[];
  onSelect: (suggestion: Suggestion) => void;
}

function Suggestions({ pipeds, onSelect }: SuggestionsProps) {
  const suggestions = useQuery(suggestionsQuery);
  if (!suggestions.data) return null;
  return (
    <Section title="Found in Git">
      {suggestions.data.suggestions.length + suggestions.data.invalidFiles.length === 0 ? (
        <EmptyState title="No new applications found" icon={<IconFolderSearch size={32} stroke={1.5} />}>
          All applications in Git are registered. When an <span className="mono">{CONFIG_FILENAME}</span> is committed
          to a repository of a piped, its application is suggested here.
        </EmptyState>
      ) : (
        <Stack gap="sm">
          {suggestions.data.suggestions.map((suggestion) => (
            <SuggestionRow
              key={suggestionKey(suggestion)}
              suggestion={suggestion}
              pipeds={pipeds}
              onSelect={() => onSelect(suggestion)}
            />
          ))}
          {suggestions.data.invalidFiles.length > 0 && (
            <InvalidFiles files={suggestions.data.invalidFiles} pipeds={pipeds} />
          )}
        </Stack>
      )}
    </Section>
  );
}

function suggestionKey({ application: info }: Suggestion): string {
  return `${info?.pipedId}/${info?.repoId}/${info?.path}/${info?.configFilename}`;
}

/** Configuration files of unregistered applications that cannot be suggested. A piped reports the first 50. */
function InvalidFiles({ files, pipeds }: { files: readonly InvalidFile[]; pipeds: readonly Piped[] }) {
  return (
    <Alert color="yellow" title="Files that cannot be used" role="alert">
      <Stack gap="xs">
        {files.map(({ pipedId, repoId, path, error }) => (
          <div key={`${pipedId}/${repoId}/${path}`} style={{ overflowWrap: "anywhere" }}>
            <Text size="sm">{error}</Text>
            <Text size="xs" className="faint">
              <span className="mono">
                <Breakable text={`${repoId}:${path}`} />
              </span>{" "}
              · {pipedName(pipeds, pipedId)}
            </Text>
          </div>
        ))}
      </Stack>
    </Alert>
  );
}

function pipedName(pipeds: readonly Piped[], id: string): string {
  return pipeds.find((candidate) => candidate.id === id)?.name ?? id;
}

interface SuggestionRowProps {
  suggestion: Suggestion;
  pipeds: readonly Piped[];
  onSelect: () => void;
}

function SuggestionRow({ suggestion, pipeds, onSelect }: SuggestionRowProps) {
  const { application: info, kind } = suggestion;
  const adding = useAddApplication();
  const may = useMay();
  if (!info) return null;
  const values = fromSuggestion(suggestion, pipeds);
  return (
    <Group justify="space-between">
      <div style={{ minWidth: 0 }}>
        <Text size="sm" fw={600}>{info.name}</Text>
        <Text size="sm" className="faint">
          {kindName(kind)} ·{" "}
          <span className="mono">
            <Breakable text={`${info.repoId}:${info.path}`} />
          </span>{" "}
          · {pipedName(pipeds, info.pipedId)}
        </Text>
        <Labels labels={info.labels} />
        {adding.isError && (
          <Text size="sm" c="red" role="alert">
            {errorMessage(adding.error)}
          </Text>
        )}
      </div>
      <Group gap="xs">
        <Button size="xs" variant="default" onClick={onSelect}>
          Fill in form
        </Button>
        {isComplete(values) && may(WebService.method.addApplication, values) && (
          <Button size="xs" aria-label={`Add ${info.name}`} loading={adding.isPending} onClick={() => adding.mutate(values)}>
            Add
          </Button>
        )}
      </Group>
    </Group>
  );
}

/** The fields of AddApplicationRequest. */
const FIELDS = {
  name: "name",
  piped: "piped_id",
  kind: "kind",
  provider: "platform_provider",
  repository: "git_path.repo",
  path: "git_path.path",
  file: "git_path.config_filename",
  labels: "labels",
};

interface FormProps {
  values: FormValues;
  onChange: (changes: Partial<FormValues>) => void;
  pipeds: readonly Piped[];
}

function Form({ values, onChange, pipeds }: FormProps) {
  const piped = pipeds.find((candidate) => candidate.id === values.pipedId);
  const providers = providersFor(piped, values.kind);
  const mutation = useAddApplication();
  const { at: errors, other } = fieldErrors(mutation.error, FIELDS);
  const form = useFocusOnError(mutation.error);
  const included = useMay()(WebService.method.addApplication, values);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    mutation.mutate(values);
  };
  return (
    <Section title="Add manually">
      <form ref={form} onSubmit={submit}>
        <Stack gap="md" maw={620}>
          <TextInput
            label="Name"
            required
            value={values.name}
            error={errors.name}
            onChange={(event) => onChange({ name: event.currentTarget.value })}
          />
          <Select
            label="Piped"
            description={
              pipeds.length === 0
                ? "Register a piped first, on the Pipeds page."
                : "The piped that deploys the application."
            }
            required
            allowDeselect={false}
            data={pipeds
              .filter((candidate) => !candidate.disabled)
              .map((candidate) => ({ value: candidate.id, label: candidate.name }))}
            value={values.pipedId || null}
            error={errors.piped}
            onChange={(value) => onChange({ pipedId: value ?? "", repoId: "", platformProvider: "" })}
          />
          <Select
            label="Kind"
            required
            allowDeselect={false}
            data={kindsOf(piped ? [piped] : pipeds).map((kind) => ({ value: kind, label: kindName(kind) }))}
            value={values.kind}
            error={errors.kind}
            onChange={(value) => onChange({ kind: value ?? "", platformProvider: "" })}
          />
          <Select
            label="Platform provider"
            description={
              piped && providers.length === 0
                ? `${piped.name} has no platform provider for ${kindName(values.kind)}. Add one to its configuration.`
                : "One of the platform providers in the configuration of the piped."
            }
            required
            allowDeselect={false}
            data={providers}
            value={values.platformProvider || null}
            error={errors.provider}
            onChange={(value) => onChange({ platformProvider: value ?? "" })}
          />
          <Select
            label="Repository"
            description={
              piped && piped.repositories.length === 0
                ? `${piped.name} has not reported its repositories yet. Check that it is running.`
                : "One of the repositories in the configuration of the piped."
            }
            required
            allowDeselect={false}
            data={(piped?.repositories ?? []).map((repository) => ({
              value: repository.id,
              label: `${repository.id} · ${repository.branch}`,
            }))}
            value={values.repoId || null}
            error={errors.repository}
            onChange={(value) => onChange({ repoId: value ?? "" })}
          />
          <TextInput
            label="Directory"
            description="Relative to the root of the repository."
            placeholder="apps/checkout"
            required
            value={values.path}
            error={errors.path}
            onChange={(event) => onChange({ path: event.currentTarget.value })}
          />
          <TextInput
            label="Configuration file"
            required
            value={values.configFilename}
            error={errors.file}
            onChange={(event) => onChange({ configFilename: event.currentTarget.value })}
          />
          <LabelsInput
            label="Labels"
            description="In the form key:value. The labels in the configuration file replace them once it is read."
            value={Object.entries(values.labels).map(([name, value]) => `${name}:${value}`)}
            onChange={(labels) => onChange({ labels: parseLabels(labels) })}
            error={errors.labels ?? (included ? undefined : "Your roles do not include applications with these labels.")}
          />
          <Problem error={other} />
          <Group justify="flex-end">
            <Button type="submit" loading={mutation.isPending} disabled={!isComplete(values) || !included}>
              Add
            </Button>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
