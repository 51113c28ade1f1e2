// What narrows the list of applications.

import { Button, Group, Select } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { isFiltered, slug, withoutFilters, withParam } from "../filters";
import { pipedsQuery } from "../queries";
import { ApplicationKind } from "../schema/model/kind_pb";
import { kindName, KINDS } from "../words";
import { Choices, LabelChoices } from "./choices";
import { SearchField } from "./search-field";

const KIND_OPTIONS = KINDS.map((kind) => ({ value: slug(ApplicationKind, kind), label: kindName(kind) }));
const STATE_OPTIONS = [
  { value: "enabled", label: "Enabled" },
  { value: "disabled", label: "Disabled" },
];

export function ApplicationFilters() {
  const [params, setParams] = useSearchParams();
  const pipeds = useQuery(pipedsQuery);
  const choose = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  const chooseOne = (name: string) => (value: string | null) => choose(name)(value ? [value] : []);
  return (
    <Group gap="xs" role="search" aria-label="Filter the applications">
      <SearchField label="Search by name or label" value={params.get("q") ?? ""} onSearch={chooseOne("q")} />
      <Choices label="Any kind" options={KIND_OPTIONS} chosen={params.getAll("kind")} onChoose={choose("kind")} />
      <Select
        aria-label="Piped"
        placeholder="Any piped"
        data={(pipeds.data ?? []).map((piped) => ({ value: piped.id, label: piped.name }))}
        value={params.get("piped")}
        onChange={chooseOne("piped")}
        clearable
        w={150}
      />
      <Select
        aria-label="Enabled or disabled"
        placeholder="On or off"
        data={STATE_OPTIONS}
        value={params.get("state")}
        onChange={chooseOne("state")}
        clearable
        w={130}
      />
      <LabelChoices chosen={params.getAll("label")} onChoose={choose("label")} />
      {isFiltered(params) && (
        <Button variant="subtle" size="compact-sm" onClick={() => setParams(withoutFilters(params), { replace: true })}>
          Clear filters
        </Button>
      )}
    </Group>
  );
}
