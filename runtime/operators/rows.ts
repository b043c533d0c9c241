import type { RowBehaviour, RowContext } from './operator.js';

/**
 * For operators that mix rows only where their shapes show it: the row symbol leaves the leading dimension of the
 * output, or vanishes. The plan checks that for every value (compile/rows.ts); nothing is left to say here.
 */
export function shownByShapes(): RowBehaviour {
  return 'parallel';
}

/** For operators that work along an axis: rows mix where input `index` carries rows and the axis is the leading one. */
export function mixesAlong(row: RowContext, index: number, axis: number): RowBehaviour {
  return axis === 0 && row.carriesRows(index) ? 'mixing' : 'parallel';
}

/** For keepsRows: whether every input with rows has them where broadcasting puts those of the output. */
export function alignedRows({ context, rowAxis, outputAxis, outputRank }: RowContext): boolean {
  return Array.from({ length: context.inputCount }, (_, i) => i).every((i) => {
    const axis = rowAxis(i);
    return axis === undefined || axis + outputRank - context.input(i).shape.length === outputAxis;
  });
}
