// Light or dark: as the system has it, until the person says otherwise.
type Wish = 'system' | 'light' | 'dark';
const KEY = 'surefoot-theme';
const system = matchMedia('(prefers-color-scheme: dark)');

function kept(): Wish {
  try {
    const wish = localStorage.getItem(KEY);
    return wish === 'light' || wish === 'dark' ? wish : 'system';
  } catch {
    return 'system';
  }
}

class Theme {
  wish = $state<Wish>(kept());
  #dark = $state(system.matches);

  constructor() {
    system.addEventListener('change', (event) => {
      this.#dark = event.matches;
      this.#show();
    });
    this.#show();
  }

  get dark(): boolean {
    return this.wish === 'system' ? this.#dark : this.wish === 'dark';
  }

  turn(): void {
    this.wish = this.dark ? 'light' : 'dark';
    try {
      localStorage.setItem(KEY, this.wish);
    } catch {
      // A browser that keeps nothing still shows it until the page is closed.
    }
    this.#show();
  }

  #show(): void {
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light';
  }
}

export const theme = new Theme();
