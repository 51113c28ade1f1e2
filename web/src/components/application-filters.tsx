// The filters of the application list.

import { Button, Group } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { isFiltered, withoutFilters, withParam } from "../filters";
import { kindOptions } from "../kinds";
import { pipedsQuery } from "../queries";
import { FilterChoice, FilterSelect, LabelFilter } from "./filter-select";
import { SearchField } from "./search-field";

const STATE_OPTIONS = [
  { value: "enabled", label: "Enabled" },
  { value: "disabled", label: "Disabled" },
];

export function ApplicationFilters() {
  const [params, setParams] = useSearchParams();
  const pipeds = useQuery(pipedsQuery);
  const setValues = (name: string) => (values: string[]) =>
    setParams((current) => withParam(current, name, values), { replace: true });
  const setValue = (name: string) => (value: string | null) => setValues(name)(value ? [value] : []);
  return (
    <Group gap="xs" role="search" aria-label="Filter applications">
      <SearchField label="Search by name or label" value={params.get("q") ?? ""} onSearch={setValue("q")} />
      <FilterSelect
        label="Any kind"
        options={kindOptions(pipeds.data ?? [])}
        selected={params.getAll("kind")}
        onChange={setValues("kind")}
      />
      <FilterChoice
        aria-label="Piped"
        placeholder="Any piped"
        data={(pipeds.data ?? []).map((piped) => ({ value: piped.id, label: piped.name }))}
        value={params.get("piped")}
        onChange={setValue("piped")}
        style={{ flex: "1 1 140px" }}
      />
      <FilterChoice
        aria-label="Enabled or disabled"
        placeholder="Any state"
        data={STATE_OPTIONS}
        value={params.get("state")}
        onChange={setValue("state")}
        style={{ flex: "1 1 130px" }}
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
