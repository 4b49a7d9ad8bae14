// Pages are parts of one document, by the hash: no server has to know them.
export const PAGES = [
  ['overview', 'Overview'],
  ['chart', 'Chart'],
  ['positions', 'Positions'],
  ['signals', 'Signals'],
  ['risk', 'Risk & breaker'],
  ['performance', 'Performance'],
  ['backtests', 'Backtests'],
  ['connection', 'Connection'],
  ['journal', 'Journal'],
  ['alerts', 'Alerts'],
  ['settings', 'Settings'],
  ['users', 'Users'],
] as const;

export type PageName = (typeof PAGES)[number][0];

function here(): { page: PageName; rest: string } {
  const [, page = '', rest = ''] = /^#\/?([a-z]*)\/?(.*)$/.exec(location.hash) ?? [];
  const known = PAGES.find(([name]) => name === page);
  return { page: known ? known[0] : 'overview', rest: decodeURIComponent(rest) };
}

class Route {
  #now = $state(here());

  constructor() {
    addEventListener('hashchange', () => (this.#now = here()));
  }

  get page(): PageName {
    return this.#now.page;
  }

  get rest(): string {
    return this.#now.rest;
  }

  get title(): string {
    return PAGES.find(([name]) => name === this.page)?.[1] ?? '';
  }
}

export const route = new Route();
export const to = (page: PageName, rest = ''): string => `#/${page}${rest ? `/${encodeURIComponent(rest)}` : ''}`;
