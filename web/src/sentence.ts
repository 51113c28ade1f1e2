// Messages of the control plane and of providers, as sentences.

/** A word at the beginning; not a host name, an address, a path or a field, whose case has a meaning. */
const FIRST_WORD = /^\p{Ll}[\p{L}'’-]*(?=[\s,;]|$)/u;

/** With a capital at the beginning and a full stop at the end. */
export const asSentence = (text: string): string =>
  text.replace(FIRST_WORD, (word) => word.charAt(0).toUpperCase() + word.slice(1)) + (text.endsWith(".") ? "" : ".");
