/**
 * Loads a model, runs two queries at once, and lets go of the device.
 *
 *     npm run build && node examples/predict.mjs
 */
import { load } from 'braid';

const model = await load({ kind: 'zoo', model: 'dlrm', scale: 'demo' });
console.log(model.inputs.map((i) => `${i.name}: ${i.dtype}[${i.shape.join(', ')}]`).join('\n'));

/** Candidates of one user: a row each. */
function candidates(rows, firstId) {
  return {
    dense: { dims: [rows, 13], data: new Float32Array(rows * 13).fill(0.5) },
    sparse: { dims: [rows, 26], data: BigInt64Array.from({ length: rows * 26 }, (_, i) => BigInt(firstId + (i % 26))) },
  };
}

const [few, many] = await Promise.all([model.run(candidates(2, 10)), model.run(candidates(256, 500))]);
console.log('2 candidates:', few.out.data);
console.log('256 candidates, the first:', many.out.data[0]);

await model.dispose();
