import type { LoadProgress } from '../api.js';
import type { Terminal } from './context.js';

const STAGES: Record<LoadProgress['stage'], string> = {
  read: 'reading',
  compile: 'compiling',
  upload: 'uploading weights',
  pipelines: 'making pipelines',
};

const DEFAULT_COLUMNS = 80;
const CLEAR_LINE = '\r\u001b[K';

/** `wnd: uploading weights 3/10`, cut to the terminal's width: a line that wraps could not be overwritten. */
export function formatProgress(label: string, { stage, done, total }: LoadProgress, columns = DEFAULT_COLUMNS): string {
  const count = total > 1 ? ` ${done}/${total}` : '';
  return `${label}: ${STAGES[stage]}${count}`.slice(0, columns - 1);
}

/** One line on a terminal that overwrites itself. On a pipe it shows nothing. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #shown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  update(label: string, progress: LoadProgress): void {
    if (!this.#terminal.isTTY) return;
    this.#terminal.write(CLEAR_LINE + formatProgress(label, progress, this.#terminal.columns));
    this.#shown = true;
  }

  /** Takes the line away, before anything else is printed. */
  clear(): void {
    if (this.#shown) this.#terminal.write(CLEAR_LINE);
    this.#shown = false;
  }
}
