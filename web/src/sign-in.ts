// Signing in by the project's static administrator. The server answers with a redirect either way;
// why it said no stands in the cookie `error`.

export interface Credentials {
  project: string;
  username: string;
  password: string;
}

const ERROR_COOKIE = "error";

/** Empty when it went well, else the sentence that says why not. */
export async function signIn(credentials: Credentials): Promise<string> {
  takeError();
  let answer: Response;
  try {
    answer = await fetch("/auth/login/static", {
      method: "POST",
      body: new URLSearchParams({ ...credentials }),
      redirect: "manual",
    });
  } catch {
    return "The control plane cannot be reached. Is it running?";
  }
  const told = takeError();
  if (told) return told;
  if (answer.type === "opaqueredirect" || answer.ok) return "";
  if (answer.status === 401 || answer.status === 403) return "Wrong project, user or password.";
  if (answer.status === 429) return "Too many tries. Wait a minute and try again.";
  return `The control plane could not sign you in (HTTP ${answer.status}). Its log tells why.`;
}

/** What the server last had to say about signing in; it is said once. */
export function takeError(): string {
  const text = errorIn(document.cookie);
  if (text) document.cookie = `${ERROR_COOKIE}=; Path=/; Max-Age=0; SameSite=Lax`;
  return text;
}

export function errorIn(cookies: string): string {
  const found = cookies.split("; ").find((cookie) => cookie.startsWith(`${ERROR_COOKIE}=`));
  const value = found?.slice(ERROR_COOKIE.length + 1).replace(/^"(.*)"$/, "$1") ?? "";
  const text = value.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return text;
  }
}
