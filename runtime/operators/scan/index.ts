import { scan } from '../../../shaders/scan.js';
import { elementWgsl, type WebGpuProgram } from '../../../shaders/program.js';
import type { Lowering } from '../../compile/lowering.js';
import { deviceType, sliceView, type View } from '../../compile/view.js';
import { sub } from '../../graph/dim.js';
import { sizeOf } from '../../graph/tensor.js';
import { wrapping } from '../elementwise/semantics.js';
import { variantName, wrapped } from '../elementwise/types.js';
import { linesStep } from '../lines.js';
import type { NodeContext, Operator } from '../operator.js';
import { mixesAlong } from '../rows.js';

/** A running total: where it starts, and how it goes on. */
interface Scan {
  readonly type: string;
  readonly opsets: Operator['opsets'];
  readonly initial: 0 | 1;
  readonly plain: string;
  readonly long: string;
  readonly reference: (total: number, x: number) => number;
}

const SCANS: readonly Scan[] = [
  {
    type: 'CumSum',
    opsets: [11, 27],
    initial: 0,
    plain: 'acc + x',
    long: 'i64_add(acc, x)',
    reference: (a, x) => a + x,
  },
  {
    type: 'CumProd',
    opsets: [26, 27],
    initial: 1,
    plain: 'acc * x',
    long: 'i64_mul(acc, x)',
    reference: (a, x) => a * x,
  },
];

function axisOf(context: NodeContext): number {
  return context.axis(context.requiredInts(1, 'the axis')[0]!, context.input(0).shape.length);
}

function flag(context: NodeContext, name: string): boolean {
  return context.attributes.number(name, 0) !== 0;
}

/** `view` with `axis` walked from its end. */
function reversed(view: View, axis: number): View {
  return sliceView(view, axis, sub(view.shape[axis]!, 1), view.shape[axis]!, -1);
}

function lower({ type, initial, plain, long }: Scan, lowering: Lowering): void {
  const { context } = lowering;
  const axis = axisOf(context);
  const turn = (view: View): View => (flag(context, 'reverse') ? reversed(view, axis) : view);
  const [view, output] = [turn(lowering.view(0)), turn(lowering.output(0))];
  const element = deviceType(view.dtype);
  const program = (rank: number, workgroupSize: number): WebGpuProgram =>
    scan({
      name: variantName(type, view.dtype),
      element,
      initial: element === 'i64' ? `vec2<u32>(${initial}u, 0u)` : `${elementWgsl(element)}(${initial})`,
      step: element === 'i64' ? long : wrapped(view.dtype, plain),
      exclusive: flag(context, 'exclusive'),
      rank,
      workgroupSize,
    });
  lowering.emit(linesStep({ kernel: type, view, output, axis, operations: 1, program }));
}

/** CumSum and CumProd (x, axis; exclusive, reverse). */
export const SCAN_OPERATORS: readonly Operator[] = SCANS.map((entry) => ({
  type: entry.type,
  opsets: entry.opsets,
  infer(context) {
    axisOf(context);
    return [context.input(0)];
  },
  reference(context) {
    const x = context.input(0);
    const axis = axisOf(context.shapes);
    const length = x.dims[axis]!;
    const inner = sizeOf(x.dims.slice(axis + 1));
    const data = new Float64Array(x.data.length);
    const wrap = wrapping(x.dtype);
    for (let line = 0; line < data.length / length; line++) {
      const start = Math.floor(line / inner) * length * inner + (line % inner);
      let total: number = entry.initial;
      for (let j = 0; j < length; j++) {
        const at = start + (flag(context.shapes, 'reverse') ? length - 1 - j : j) * inner;
        const next = wrap(entry.reference(total, x.data[at]!));
        data[at] = flag(context.shapes, 'exclusive') ? total : next;
        total = next;
      }
    }
    return [{ ...x, data }];
  },
  rows: (row) => mixesAlong(row, 0, axisOf(row.context)),
  lower: (lowering) => lower(entry, lowering),
}));
