export default {
  compilerOptions: { runes: true },
  // A region that scrolls has to take the focus, so that keys can scroll it.
  onwarn: (warning, tell) => warning.code === 'a11y_no_noninteractive_tabindex' || tell(warning),
};
