import type { DataType } from '../../graph/dtype.js';
import { broadcastShapes } from '../broadcast.js';
import type { NodeContext, Operator, ReferenceContext, ReferenceTensor, ValueType } from '../operator.js';
import { CAST, CAST_LIKE } from './cast.js';
import { CLIP } from './clip.js';
import { foldElementwise } from './fold.js';
import { elementwiseStep } from './kernel.js';
import { alignedRows, shownByShapes } from '../rows.js';
import { mapReference } from './semantics.js';
import { ELEMENTWISE, type ElementwiseEntry } from './table.js';
import { arithmeticType, commonType, variantName, wrapped, type ArithmeticType } from './types.js';
import { WHERE } from './where.js';

function inputsOf(context: NodeContext): ValueType[] {
  return Array.from({ length: context.inputCount }, (_, i) => context.input(i));
}

function operatorOf(entry: ElementwiseEntry): Operator {
  const result = (context: NodeContext): DataType => {
    const dtypes = inputsOf(context).map((t) => t.dtype);
    const common = entry.mixes ? dtypes[0]! : commonType(context, dtypes);
    return entry.result === 'bool' ? 'bool' : common;
  };
  return {
    type: entry.type,
    opsets: entry.opsets ?? [7, 27],
    types: Object.keys(entry.wgsl) as ArithmeticType[],
    ...(entry.inputs === 'variadic' ? { aliases: 'sometimes' } : {}),
    infer(context) {
      const inputs = inputsOf(context);
      if (entry.inputs !== 'variadic' && inputs.length !== entry.inputs) {
        throw context.invalid(`expected ${entry.inputs} inputs, found ${inputs.length}`);
      }
      const shape = broadcastShapes(
        inputs.map((t) => t.shape),
        (p) => context.invalid(p),
      );
      return [{ dtype: result(context), shape }];
    },
    fold: (context, outputs) => [foldElementwise(entry.type, context, outputs[0]!)],
    reference(context: ReferenceContext) {
      const scalars = entry.scalars?.(context.attributes) ?? {};
      const inputs = context.inputs.map((_, i) => context.input(i));
      const dtype = result(context.shapes);
      if (entry.inputs !== 'variadic') return [mapReference(inputs, dtype, (x) => entry.reference(x, scalars))];
      const fold = (a: ReferenceTensor, b: ReferenceTensor): ReferenceTensor =>
        mapReference([a, b], dtype, (x) => entry.reference(x, scalars));
      const folded = inputs.reduce(fold);
      return [entry.averages ? { ...folded, data: folded.data.map((v) => v / inputs.length) } : folded];
    },
    rows: shownByShapes,
    keepsRows: alignedRows,
    lower(lowering) {
      const { context } = lowering;
      const { dtype } = context.input(0);
      const type = arithmeticType(dtype);
      const views = Array.from({ length: context.inputCount }, (_, i) => lowering.view(i));
      const types = inputsOf(context).map((t) => arithmeticType(t.dtype));
      const odd = types.findIndex((t) => t !== type);
      const own = entry.wgsl[type];
      const plain = odd < 0 ? own : entry.mixes?.(type, types[odd]!);
      if (plain === undefined) {
        const beside = odd < 0 ? '' : ` with ${context.input(odd).dtype}`;
        throw context.unsupported(`no kernel for ${dtype}${beside}`);
      }
      const call = {
        name: variantName(entry.type, dtype),
        expression: entry.result === 'same' ? wrapped(dtype, plain) : plain,
        ...(entry.helpers === undefined ? {} : { helpers: entry.helpers }),
        ...(entry.operations === undefined ? {} : { operations: entry.operations }),
        scalars: entry.scalars?.(context.attributes) ?? {},
      };
      const output = lowering.output(0);
      if (entry.inputs !== 'variadic') {
        lowering.emit(
          elementwiseStep({
            ...call,
            name: odd < 0 ? call.name : `${call.name}_by_${types[odd]}`,
            inputs: views,
            output,
          }),
        );
        return;
      }
      if (views.length === 1) {
        lowering.alias(0, views[0]!);
        return;
      }
      // a, b, c, .. chained pairwise; only the last writes the output.
      let left = views[0]!;
      for (let i = 1; i < views.length; i++) {
        const last = i === views.length - 1;
        const into = last ? output : lowering.scratch(`partial${i}`, output.dtype, output.shape);
        const averages = entry.averages && last;
        const step = averages
          ? {
              ...call,
              name: `${call.name}_last`,
              expression: `(${call.expression}) / p.inputs`,
              scalars: { inputs: views.length },
            }
          : call;
        lowering.emit(elementwiseStep({ ...step, inputs: [left, views[i]!], output: into }));
        left = into;
      }
    },
  };
}

export const ELEMENTWISE_OPERATORS: readonly Operator[] = [
  ...ELEMENTWISE.map(operatorOf),
  WHERE,
  CLIP,
  CAST,
  CAST_LIKE,
];
