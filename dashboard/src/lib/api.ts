// Speaks to the API. The access token lives in this module's memory only; the refresh token is a cookie that no script sees.

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const BASE = '/api/v1';
let token: string | null = null;
let tokenEndsMs = 0;
let onSignedOut: () => void = () => {};
let askToConfirm: (why: string) => Promise<boolean> = async () => false;

export function whenSignedOut(does: () => void): void {
  onSignedOut = does;
}

/** `does` asks the person for a code or password again and says whether that succeeded. */
export function whenConfirmationIsNeeded(does: (why: string) => Promise<boolean>): void {
  askToConfirm = does;
}

export interface Grant {
  access_token: string;
  access_ends_ms: number;
}

export function take(grant: Grant): void {
  token = grant.access_token;
  tokenEndsMs = grant.access_ends_ms;
}

export function forget(): void {
  token = null;
}

async function send(method: string, path: string, body: unknown, key: string | null): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (key) headers['Idempotency-Key'] = key;
  try {
    return await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
    });
  } catch {
    throw new Problem(0, 'unreachable', 'The bot does not answer: its web process is not running, or the network is gone.');
  }
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const told = (await answer.json()) as { title?: string; detail?: unknown; code?: string };
    const detail = typeof told.detail === 'string' ? told.detail : told.detail ? JSON.stringify(told.detail) : '';
    return new Problem(answer.status, told.code ?? '', detail || told.title || `It answered ${answer.status}.`);
  } catch {
    return new Problem(answer.status, '', `It answered ${answer.status}.`);
  }
}

/** One tab at a time: a refresh token may be used once, and tabs share it. */
export async function refresh(): Promise<boolean> {
  const before = token;
  const work = async (): Promise<boolean> => {
    if (before !== token && token !== null) return true;
    const answer = await send('POST', '/auth/refresh', undefined, null);
    if (!answer.ok) {
      if (answer.status >= 500) throw await problemOf(answer);
      token = null;
      return false;
    }
    take((await answer.json()) as Grant);
    return true;
  };
  return 'locks' in navigator ? navigator.locks.request('surefoot-refresh', work) : work();
}

/** A token that lasts for so long at least; null when nobody is signed in. */
export async function freshToken(least_ms = 20_000): Promise<string | null> {
  if (!token || tokenEndsMs - Date.now() < least_ms) {
    if (!(await refresh())) {
      onSignedOut();
      return null;
    }
  }
  return token;
}

const CONFIRM = /confirm/;

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const acts = method !== 'GET' && !path.startsWith('/auth/');
  const key = acts ? crypto.randomUUID() : null;
  let answer = await send(method, path, body, key);
  if (answer.status === 401 && !/^\/auth\/(login|link|refresh|confirm)/.test(path)) {
    if (!(await refresh())) {
      onSignedOut();
      throw new Problem(401, 'signed_out', 'You are signed out.');
    }
    answer = await send(method, path, body, key);
  }
  if (answer.status === 403 && acts) {
    const problem = await problemOf(answer);
    if (!CONFIRM.test(problem.code) || !(await askToConfirm(problem.message))) throw problem;
    answer = await send(method, path, body, crypto.randomUUID());
  }
  if (!answer.ok) throw await problemOf(answer);
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

export const get = <T>(path: string): Promise<T> => call<T>('GET', path);
export const post = <T>(path: string, body?: unknown): Promise<T> => call<T>('POST', path, body);
export const patch = <T>(path: string, body: unknown): Promise<T> => call<T>('PATCH', path, body);
export const remove = <T>(path: string): Promise<T> => call<T>('DELETE', path);

/** A file that the API hands out, as the page opens it: with the token, which a plain link could not carry. */
export async function download(path: string): Promise<Blob> {
  await freshToken();
  const answer = await send('GET', path, undefined, null);
  if (!answer.ok) throw await problemOf(answer);
  return answer.blob();
}

export function query(values: Record<string, string | number | null | undefined>): string {
  const pairs = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return pairs.length ? `?${new URLSearchParams(pairs.map(([name, value]) => [name, String(value)]))}` : '';
}
