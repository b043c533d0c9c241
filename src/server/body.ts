import type { Readable } from 'node:stream';
import type { Engine, LentMemory } from '../api.js';
import { HttpError } from './errors.js';

/** Every element size divides it, so a tensor that starts on a multiple of it is viewed without a copy. */
const ALIGNMENT = 8;

export interface BodyLayout {
  /** Content-Length, where the client gave one. */
  readonly contentLength: number | undefined;
  /** Bytes of JSON before the binary tensors; undefined where all of the body is JSON. */
  readonly headerLength: number | undefined;
  readonly limitBytes: number;
}

type Lend = Engine['lend'];

/**
 * Reads a request body into one buffer, placed so that the byte after the JSON header is aligned: binary tensors then
 * become typed array views whatever the header's length. To be released once nothing reads them any more.
 * @throws HttpError 413 over the limit (at once where Content-Length says so), 400 where the body ends early.
 */
export function readBody(stream: Readable, layout: BodyLayout, lend: Lend): Promise<LentMemory> {
  const { contentLength, headerLength, limitBytes } = layout;
  if (contentLength !== undefined && contentLength > limitBytes) {
    return Promise.reject(tooLarge(`${contentLength} bytes`, limitBytes));
  }
  return new Promise((resolve, reject) => {
    // A body of known length fills its place as it arrives; a chunked one is gathered first.
    const place = contentLength === undefined ? undefined : placeFor(contentLength, headerLength, lend);
    const chunks: Buffer[] = [];
    let received = 0;

    const settle = (act: () => void) => {
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      act();
    };
    const fail = (error: HttpError) =>
      settle(() => {
        place?.release();
        reject(error);
      });
    const onData = (chunk: Buffer) => {
      const end = received + chunk.length;
      if (end > limitBytes) {
        fail(tooLarge(`more than ${limitBytes} bytes`, limitBytes));
        return;
      }
      if (!place) chunks.push(chunk);
      else if (end <= place.bytes.length) place.bytes.set(chunk, received);
      received = end;
    };
    const onEnd = () => {
      if (contentLength !== undefined && received !== contentLength) {
        fail(wrongLength(received, contentLength));
        return;
      }
      settle(() => resolve(place ?? gather(chunks, received, headerLength, lend)));
    };
    const onError = (error: Error) => fail(new HttpError(400, `the body broke off: ${error.message}`));
    const onClose = () => fail(wrongLength(received, contentLength));

    stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

/**
 * Binary tensors go to the engine as views of the body, so it lies in memory of the engine's; a body that is all JSON is parsed
 * here and needs none.
 */
function placeFor(length: number, headerLength: number | undefined, lend: Lend): LentMemory {
  if (headerLength === undefined) return { bytes: new Uint8Array(length), release: () => {} };
  const padding = (ALIGNMENT - (headerLength % ALIGNMENT)) % ALIGNMENT;
  const { bytes, release } = lend(padding + length);
  return { bytes: bytes.subarray(padding), release };
}

function gather(chunks: readonly Buffer[], length: number, headerLength: number | undefined, lend: Lend): LentMemory {
  const place = placeFor(length, headerLength, lend);
  let at = 0;
  for (const chunk of chunks) {
    place.bytes.set(chunk, at);
    at += chunk.length;
  }
  return place;
}

function tooLarge(found: string, limitBytes: number): HttpError {
  return new HttpError(413, `the body holds ${found}, expected at most ${limitBytes} (the server's --max-body)`);
}

function wrongLength(received: number, expected: number | undefined): HttpError {
  const promised = expected === undefined ? 'more' : `${expected} (Content-Length)`;
  return new HttpError(400, `the body ended after ${received} bytes, expected ${promised}`);
}
