import type { OperatorSetIdProto } from 'onnx-buf';
import { BraidError } from '../../runtime/errors.js';

/** Versions of the ONNX operator set that the importer takes. */
export const OPSET_RANGE = { min: 7, max: 27 } as const;

/** Oldest file format version that the importer takes. */
export const MIN_IR_VERSION = 3;

/** Version of each domain's operator set. '' is the ONNX domain. */
export type Opsets = ReadonlyMap<string, number>;

/** The ONNX domain has two spellings; a Graph knows the empty one. */
export function normalDomain(domain: string): string {
  return domain === 'ai.onnx' ? '' : domain;
}

/**
 * Reads opset_import.
 * @throws BraidError MODEL_UNSUPPORTED for a version of the ONNX domain outside OPSET_RANGE.
 */
export function opsetsOf(imports: readonly OperatorSetIdProto[]): Opsets {
  const opsets = new Map<string, number>();
  for (const { domain, version } of imports) opsets.set(normalDomain(domain), Number(version));
  const version = opsets.get('');
  if (version !== undefined && (version < OPSET_RANGE.min || version > OPSET_RANGE.max)) {
    throw new BraidError(
      'MODEL_UNSUPPORTED',
      `opset ${version} of the ONNX domain, expected ${OPSET_RANGE.min} to ${OPSET_RANGE.max}`,
    );
  }
  return opsets;
}
