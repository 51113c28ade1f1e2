// The agent reports a broken configuration as lines `file:line: key: what is wrong; remedy`.
// This takes them apart, so that the page can show each part as what it is.

export interface Complaint {
  file: string;
  /** Counts from 1; 0 when the whole file is meant. */
  line: number;
  key: string;
  what: string;
  remedy: string;
}

const PLACED = /^(?<file>[^\s:]+\.[A-Za-z]+)(?::(?<line>\d+))?: (?:(?<key>[\w$.[\]-]+): )?(?<rest>.+)$/s;

/** One complaint a line; a line that names no file stays whole, in `what`. */
export function complaints(reason: string): Complaint[] {
  return reason
    .split("\n")
    .filter((line) => line.trim())
    .map(complaint);
}

function complaint(text: string): Complaint {
  const found = PLACED.exec(text)?.groups;
  const rest = found?.rest ?? text;
  const cut = rest.indexOf("; ");
  return {
    file: found?.file ?? "",
    line: Number(found?.line ?? 0),
    key: found?.key ?? "",
    what: cut < 0 ? rest : rest.slice(0, cut),
    remedy: cut < 0 ? "" : rest.slice(cut + 2),
  };
}
