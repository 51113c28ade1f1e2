// A text without spaces, such as a path, an image or a policy, that breaks into lines behind its separators and not
// inside a word.

import { Fragment } from "react";

/** Parts that are longer break behind dots too. */
const LONG_PART = 24;

export function Breakable({ text }: { text: string }) {
  return breakableParts(text).map((part, index) => (
    <Fragment key={index}>
      {index > 0 && <wbr />}
      {part}
    </Fragment>
  ));
}

export function breakableParts(text: string): string[] {
  const parts = text.split(/(?<=[/:@;,=_])(?![/:@;,=_])/);
  return parts.flatMap((part) => (part.length > LONG_PART ? part.split(/(?<=[.])(?![.])/) : part));
}
