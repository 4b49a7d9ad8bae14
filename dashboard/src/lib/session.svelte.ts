// Who is signed in. One object for the whole page.
import { type Problem, forget, get, post, refresh, take, whenSignedOut } from './api';
import { news } from './news.svelte';
import type { Me } from './schema';
import { stream } from './stream.svelte';

type Role = 'viewer' | 'trader' | 'admin';

const ORDER: string[] = ['viewer', 'trader', 'admin'];

class Session {
  state = $state<'starting' | 'out' | 'in'>('starting');
  me = $state<Me | null>(null);
  told = $state('');
  /** A sign-in link that waits for the code of its user's second factor. */
  link = $state('');

  async begin(): Promise<void> {
    whenSignedOut(() => this.#left('Your session has ended. Sign in again.'));
    const link = /^#link=([\w.~-]+)/.exec(location.hash)?.[1];
    if (link) {
      history.replaceState(null, '', location.pathname);
      try {
        return await this.signInByLink(link, '');
      } catch (problem) {
        if ((problem as Problem).code === 'second_factor_needed') {
          this.link = link;
          this.state = 'out';
          return;
        }
        this.told = `The sign-in link did not work: ${(problem as Error).message}`;
      }
    }
    try {
      if (await refresh()) return await this.#entered();
    } catch (problem) {
      this.told = (problem as Error).message;
    }
    this.state = 'out';
  }

  /** Raises Problem. */
  async signIn(name: string, password: string, code: string): Promise<void> {
    take(await post('/auth/login', code ? { name, password, code } : { name, password }));
    await this.#entered();
  }

  /** Raises Problem. */
  async signInByLink(token: string, code: string): Promise<void> {
    take(await post('/auth/link', code ? { token, code } : { token }));
    await this.#entered();
    if (this.me && !this.me.has_password && !this.me.second_factor) {
      news.tell('warn', 'The link counts as proof for fifteen minutes. Set a password or a second factor under Users, or you cannot sell from here afterwards.');
    }
  }

  async signOut(): Promise<void> {
    try {
      await post('/auth/logout');
    } finally {
      this.#left('');
    }
  }

  may(role: Role): boolean {
    return this.me !== null && ORDER.indexOf(this.me.role) >= ORDER.indexOf(role);
  }

  async look(): Promise<void> {
    this.me = await get('/me');
  }

  async #entered(): Promise<void> {
    await this.look();
    this.told = this.link = '';
    this.state = 'in';
    stream.start();
  }

  #left(why: string): void {
    forget();
    stream.stop();
    this.me = null;
    this.told = why;
    this.state = 'out';
  }
}

export const session = new Session();
