// Which field of a form an error is about. The control plane names it with the names of the schema; a form says which
// of them it shows. Errors about other fields, or about none, belong below the form.

import { ConnectError } from "@connectrpc/connect";
import { useEffect, useRef } from "react";

import { errorMessage } from "./api";
import { FieldViolationSchema } from "./schema/pipecd/v1/errors_pb";

/** Thrown before a request is sent: the value of a field is not valid. */
export class InvalidField extends SyntaxError {
  constructor(
    /** Path in the schema, as the control plane would name it. */
    readonly field: string,
    message: string,
  ) {
    super(message);
  }
}

export interface FieldErrors<Name extends string> {
  /** The message at each field that has one. */
  at: Partial<Record<Name, string>>;
  /** The error, if no field shows it. */
  other: unknown;
}

/** `fields` has the path in the schema of each field of the form; a path includes what is below it. */
export function fieldErrors<Name extends string>(error: unknown, fields: Record<Name, string>): FieldErrors<Name> {
  const path = violatedField(error);
  const names = Object.keys(fields) as Name[];
  const name = path && names.find((candidate) => isWithin(path, fields[candidate]));
  if (!path || !name) return { at: {}, other: error };
  return { at: { [name]: formErrorMessage(error, path) } as Partial<Record<Name, string>>, other: null };
}

/** The message of an error of a form. Messages begin with the path of the field, which users need not know. */
export function formErrorMessage(error: unknown, path = violatedField(error)): string {
  if (error instanceof SyntaxError) return error.message;
  const { code, rawMessage } = ConnectError.from(error);
  if (!path || !rawMessage.startsWith(`${path} `)) return errorMessage(error);
  return errorMessage(new ConnectError(rawMessage.slice(path.length + 1), code));
}

function violatedField(error: unknown): string {
  if (error instanceof InvalidField) return error.field;
  return error ? (ConnectError.from(error).findDetails(FieldViolationSchema)[0]?.field ?? "") : "";
}

const isWithin = (path: string, field: string): boolean =>
  path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`);

/** A form that moves the focus to the field with the error. */
export function useFocusOnError(error: unknown) {
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (error) form.current?.querySelector<HTMLElement>("[aria-invalid='true']")?.focus();
  }, [error]);
  return form;
}

/** Says that a text is too long; undefined if it is not. Nothing of it is cut off. */
export const tooLong = (text: string, most: number): string | undefined =>
  text.length > most ? `At most ${most} characters, not ${text.length}.` : undefined;
