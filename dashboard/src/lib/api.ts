// Speaks to the API. The access token lives in this module's memory only; the refresh token is a cookie that no script sees.

import type { Delete, Get, Patch, Post, Signed } from './schema';

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

export function take(grant: Signed): void {
  token = grant.access_token;
  tokenEndsMs = grant.expires_ms;
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
    take((await answer.json()) as Signed);
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

// What a new access token mends; any other 401 is about a password or a code.
const STALE_TOKEN = new Set(['signed_out', 'token_expired', 'token_invalid']);
const CONFIRMATION = 'confirmation_needed';

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const acts = method !== 'GET' && !path.startsWith('/auth/');
  const once = async (): Promise<Response | Problem> => {
    const answer = await send(method, path, body, acts ? crypto.randomUUID() : null);
    return answer.ok ? answer : problemOf(answer);
  };
  let answer = await once();
  if (answer instanceof Problem && STALE_TOKEN.has(answer.code)) {
    if (!(await refresh())) {
      onSignedOut();
      throw new Problem(401, 'signed_out', 'You are signed out.');
    }
    answer = await once();
  }
  if (answer instanceof Problem && answer.code === CONFIRMATION && (await askToConfirm(answer.message))) answer = await once();
  if (answer instanceof Problem) {
    if (answer.code === 'session_ended') onSignedOut();
    throw answer;
  }
  const text = await answer.text();
  return (text ? JSON.parse(text) : null) as T;
}

type Query<Q> = Q extends undefined ? [] : Record<string, never> extends Q ? [values?: Q] : [values: Q];
type Asked<B, Q> = Q extends undefined ? (B extends undefined ? [body?: undefined, values?: undefined] : [body: B, values?: undefined]) : [body: B, values: Q];

/** The address of a route: what stands in its path is filled in, the rest becomes its query. */
export function address(path: string, values: Record<string, unknown> = {}): string {
  const rest = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (path.includes(`{${name}}`)) path = path.replace(`{${name}}`, encodeURIComponent(String(value)));
    else if (Array.isArray(value)) value.forEach((each) => rest.append(name, String(each)));
    else if (value !== null && value !== undefined && value !== '') rest.append(name, String(value));
  }
  return rest.size ? `${path}?${rest}` : path;
}

export const get = <P extends keyof Get>(path: P, ...[values]: Query<Get[P]['query']>): Promise<Get[P]['answer']> => call('GET', address(path, values));
export const post = <P extends keyof Post>(path: P, ...[body, values]: Asked<Post[P]['body'], Post[P]['query']>): Promise<Post[P]['answer']> =>
  call('POST', address(path, values as Record<string, unknown> | undefined), body);
export const patch = <P extends keyof Patch>(path: P, body: Patch[P]['body'], values: Patch[P]['query']): Promise<Patch[P]['answer']> => call('PATCH', address(path, values), body);
export const remove = <P extends keyof Delete>(path: P, values: Delete[P]['query']): Promise<Delete[P]['answer']> => call('DELETE', address(path, values));
/** A file that the API hands out, as the page opens it: with the token, which a plain link could not carry. */
export async function download(path: string): Promise<Blob> {
  await freshToken();
  const answer = await send('GET', path, undefined, null);
  if (!answer.ok) throw await problemOf(answer);
  return answer.blob();
}
