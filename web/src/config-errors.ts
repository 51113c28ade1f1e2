// Parses the configuration errors a piped reports, one a line: `file:line: key: message; remedy`.

export interface ConfigError {
  file: string;
  /** Counts from 1; 0 if the error concerns the whole file. */
  line: number;
  key: string;
  message: string;
  remedy: string;
}

const LOCATED_ERROR = /^(?<file>[^\s:]+\.[A-Za-z]+)(?::(?<line>\d+))?: (?:(?<key>[\w$.[\]-]+): )?(?<rest>.+)$/s;

/** A line that names no file becomes the `message` as it is. */
export function parseConfigErrors(reason: string): ConfigError[] {
  return reason
    .split("\n")
    .filter((line) => line.trim())
    .map(parseConfigError);
}

function parseConfigError(text: string): ConfigError {
  const groups = LOCATED_ERROR.exec(text)?.groups;
  const rest = groups?.rest ?? text;
  const separator = rest.indexOf("; ");
  return {
    file: groups?.file ?? "",
    line: Number(groups?.line ?? 0),
    key: groups?.key ?? "",
    message: separator < 0 ? rest : rest.slice(0, separator),
    remedy: separator < 0 ? "" : rest.slice(separator + 2),
  };
}
