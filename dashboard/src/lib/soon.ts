// Reading anew after news, without reading once per record.

/** Does it once, `ms` after the first of any number of calls: news that never pauses does not put it off for ever. */
export function soon(does: () => void, ms: number): { ask: () => void; stop: () => void } {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  const ask = () => {
    timer ??= setTimeout(() => {
      stop();
      does();
    }, ms);
  };
  return { ask, stop };
}
