// What just happened, told once in a corner and to a screen reader.
export interface News { id: number; level: 'good' | 'warn' | 'bad'; text: string }

const SHOWN_MS = 8_000;

class Board {
  items = $state<News[]>([]);
  #id = 0;

  tell(level: News['level'], text: string): void {
    const id = ++this.#id;
    this.items = [...this.items.slice(-3), { id, level, text }];
    setTimeout(() => this.drop(id), level === 'bad' ? SHOWN_MS * 3 : SHOWN_MS);
  }

  drop(id: number): void {
    this.items = this.items.filter((item) => item.id !== id);
  }
}

export const news = new Board();
