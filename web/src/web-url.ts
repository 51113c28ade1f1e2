/** Whether the text is an address that may be linked to: http(s), never a javascript: URL. */
export const isWebUrl = (text: string): boolean => /^https?:\/\//.test(text);
