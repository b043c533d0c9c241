import { evaluate, linearIn, type Bindings, type Dim } from '../../graph/dim.js';
import type { Word } from '../../compile/kernel.js';
import type { Storage } from '../../compile/view.js';
import { layoutParameters, PARAMETER_WINDOW_BYTES } from '../../../shaders/program.js';
import type { DispatchGroup } from './schedule.js';

/** Offsets of uniform bindings are multiples of this on every adapter. */
const WINDOW_ALIGNMENT_BYTES = 256;

/** A word of the parameter buffer that depends on sizes or on where storages lie. */
interface DynamicWord {
  readonly at: number;
  readonly dim: Dim;
  readonly storage: Storage | undefined;
}

/**
 * The parameter blocks of all dispatches of a plan in one buffer, a window a dispatch. Words that no size changes are
 * written once; the rest when the sizes of a wave differ from those of the wave before.
 */
export class ParameterBlocks {
  /** Byte offset of each group's window. */
  readonly offsets: readonly number[];
  readonly bytes: number;
  readonly #words: Uint32Array<ArrayBuffer>;
  readonly #dynamic: DynamicWord[] = [];
  readonly #symbols: readonly string[];
  /** Words that are linear in the symbols, with where their storages lie in the layout written last. */
  readonly #linear: {
    readonly words: DynamicWord[];
    readonly at: Uint32Array;
    readonly constant: Float64Array;
    /** By symbol. */
    readonly slopes: readonly Float64Array[];
  };
  readonly #others: DynamicWord[];
  #writtenFor: unknown;

  /**
   * @param symbols that every wave changes (rows, queries): what is linear in them is written without evaluating formulas.
   * @param headerBytes room to leave in front of a group's blocks, a multiple of 16.
   */
  constructor(
    groups: readonly DispatchGroup[],
    symbols: readonly string[] = [],
    headerBytes: (group: DispatchGroup) => number = () => 0,
  ) {
    let bytes = 0;
    this.offsets = groups.map((group) => {
      const { program, steps } = group;
      const offset = bytes;
      const used = headerBytes(group) + layoutParameters(program.fields).words * 4 * steps.length;
      bytes += Math.ceil(used / WINDOW_ALIGNMENT_BYTES) * WINDOW_ALIGNMENT_BYTES;
      return offset;
    });
    // Every binding is a whole window, so the last one has to fit too.
    this.bytes = bytes + PARAMETER_WINDOW_BYTES;
    this.#words = new Uint32Array(bytes / 4);
    groups.forEach((group, i) => this.#write(group, (this.offsets[i]! + headerBytes(group)) / 4));
    this.#symbols = symbols;
    // Where inputs lie changes with a wave's sizes, where temporaries lie with the layout alone.
    const isLinear = ({ dim, storage }: DynamicWord): boolean =>
      storage?.kind !== 'input' && linearIn(dim, symbols) !== undefined;
    const words = this.#dynamic.filter(isLinear);
    this.#others = this.#dynamic.filter((w) => !isLinear(w));
    this.#linear = {
      words,
      at: Uint32Array.from(words, (w) => w.at),
      constant: new Float64Array(words.length),
      slopes: symbols.map((_, s) => Float64Array.from(words, (w) => linearIn(w.dim, symbols)!.slopes[s]!)),
    };
  }

  #write({ program, steps }: DispatchGroup, start: number): void {
    const layout = layoutParameters(program.fields);
    const floats = new Float32Array(this.#words.buffer);
    steps.forEach(({ dispatch, step }, block) => {
      for (const { name } of program.fields) {
        const value = dispatch.parameters[name];
        const at = start + block * layout.words + layout.offsets.get(name)!;
        if (value === undefined) throw new Error(`${step.kernel}: parameter '${name}' has no value`);
        if (typeof value === 'object' && 'f32' in value) floats[at] = value.f32;
        else if (Array.isArray(value)) (value as readonly Word[]).forEach((word, i) => this.#word(at + i, word));
        else this.#word(at, value as Word);
      }
    });
  }

  #word(at: number, word: Word): void {
    if (typeof word === 'number') this.#words[at] = word;
    else if ('start' in word) this.#dynamic.push({ at, dim: word.start.offset, storage: word.start.storage });
    else this.#dynamic.push({ at, dim: word, storage: undefined });
  }

  /**
   * The words for these sizes. Negative strides wrap, as the kernels' u32 arithmetic expects.
   * @param layout tells layouts apart: `baseOf` is asked again where it is another than before.
   */
  words(bindings: Bindings, layout: unknown, baseOf: (storage: Storage) => number): Uint32Array<ArrayBuffer> {
    const { words, at, constant, slopes } = this.#linear;
    if (layout !== this.#writtenFor) {
      this.#writtenFor = layout;
      words.forEach(({ dim, storage }, i) => {
        constant[i] = linearIn(dim, this.#symbols)!.constant + (storage ? baseOf(storage) : 0);
      });
    }
    const sizes = this.#symbols.map((s) => bindings.get(s) ?? 0);
    for (let i = 0; i < at.length; i++) {
      let word = constant[i]!;
      for (let s = 0; s < sizes.length; s++) word += slopes[s]![i]! * sizes[s]!;
      this.#words[at[i]!] = word;
    }
    for (const { at, dim, storage } of this.#others) {
      this.#words[at] = evaluate(dim, bindings) + (storage ? baseOf(storage) : 0);
    }
    return this.#words;
  }
}
