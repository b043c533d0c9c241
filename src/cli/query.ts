import { BraidError, ERROR_CATALOGUE, type ErrorCode } from '../../runtime/errors.js';
import type { Tensor } from '../../runtime/graph/tensor.js';
import { toFlatJson, toOpenInferenceType, type JsonElement } from '../io/index.js';

export interface QueryAnswer {
  readonly outputs: readonly { readonly name: string; readonly data: readonly JsonElement[] }[];
  readonly latencyMs: number;
}

/** The JSON body of an Open Inference Protocol request for all outputs. */
export function queryBody(inputs: Readonly<Record<string, Tensor>>): string {
  return JSON.stringify({
    inputs: Object.entries(inputs).map(([name, tensor]) => ({
      name,
      datatype: toOpenInferenceType(tensor.dtype),
      shape: tensor.dims,
      data: toFlatJson(tensor),
    })),
  });
}

/** Posts a query and times it from the first byte sent to the last received. @throws BraidError what the server said. */
export async function postQuery(url: string, body: string): Promise<QueryAnswer> {
  const begin = performance.now();
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const text = await response.text();
  const latencyMs = performance.now() - begin;
  if (response.ok) return { ...(JSON.parse(text) as Pick<QueryAnswer, 'outputs'>), latencyMs };
  const { error, code } = JSON.parse(text) as { error: string; code: string };
  throw new BraidError(Object.hasOwn(ERROR_CATALOGUE, code) ? (code as ErrorCode) : 'INTERNAL', `${url}: ${error}`);
}

/** A word that a POSIX shell leaves as it is. */
function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** A command line that a POSIX shell runs as it stands. */
export function curlLine(url: string, body: string): string {
  return `curl -s ${quote(url)} -H 'content-type: application/json' -d ${quote(body)}`;
}
