// What is traded, and on which candles: read once for the whole page, and again with a new run.
import { get } from './api';
import type { SymbolItem } from './schema';

class Market {
  symbols = $state.raw<SymbolItem[]>([]);
  problem = $state<string | null>(null);

  get interval(): string {
    return this.symbols[0]?.intervals[0] ?? '';
  }

  get intervals(): string[] {
    return [...new Set(this.symbols[0]?.intervals ?? [])];
  }

  tick(symbol: string): string {
    return this.symbols.find((each) => each.symbol === symbol)?.tick_size ?? '0.01';
  }

  async look(): Promise<void> {
    try {
      this.symbols = (await get('/market/symbols')).items;
      this.problem = null;
    } catch (problem) {
      this.problem = (problem as Error).message;
    }
  }
}

export const market = new Market();
