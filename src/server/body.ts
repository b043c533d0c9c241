import type { Readable } from 'node:stream';
import { HttpError } from './errors.js';

/** Every element size divides it, so a tensor that starts on a multiple of it is viewed without a copy. */
const ALIGNMENT = 8;

export interface BodyLayout {
  /** Content-Length, where the client gave one. */
  readonly contentLength: number | undefined;
  /** Bytes of JSON before the binary tensors; 0 where there are none. */
  readonly headerLength: number;
  readonly limitBytes: number;
}

/**
 * Reads a request body into one buffer, placed so that the byte after the JSON header is aligned: binary tensors then
 * become typed array views whatever the header's length.
 * @throws HttpError 413 over the limit (at once where Content-Length says so), 400 where the body ends early.
 */
export function readBody(stream: Readable, layout: BodyLayout): Promise<Uint8Array> {
  const { contentLength, headerLength, limitBytes } = layout;
  if (contentLength !== undefined && contentLength > limitBytes) {
    return Promise.reject(tooLarge(`${contentLength} bytes`, limitBytes));
  }
  return new Promise((resolve, reject) => {
    // A body of known length fills its place as it arrives; a chunked one is gathered first.
    const place = contentLength === undefined ? undefined : placeFor(contentLength, headerLength);
    const chunks: Buffer[] = [];
    let received = 0;

    const settle = (act: () => void) => {
      stream.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      act();
    };
    const onData = (chunk: Buffer) => {
      const end = received + chunk.length;
      if (end > limitBytes) {
        settle(() => reject(tooLarge(`more than ${limitBytes} bytes`, limitBytes)));
        return;
      }
      if (!place) chunks.push(chunk);
      else if (end <= place.length) place.set(chunk, received);
      received = end;
    };
    const onEnd = () => {
      if (contentLength !== undefined && received !== contentLength) {
        settle(() => reject(wrongLength(received, contentLength)));
        return;
      }
      settle(() => resolve(place ?? gather(chunks, received, headerLength)));
    };
    const onError = (error: Error) => settle(() => reject(new HttpError(400, `the body broke off: ${error.message}`)));
    const onClose = () => settle(() => reject(wrongLength(received, contentLength)));

    stream.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

/**
 * Binary tensors go to the engine's thread as views of the body, so it lies in shared memory; a body that is all JSON is
 * parsed here and needs none.
 */
function placeFor(length: number, headerLength: number): Uint8Array {
  if (headerLength === 0) return new Uint8Array(length);
  const padding = (ALIGNMENT - (headerLength % ALIGNMENT)) % ALIGNMENT;
  return new Uint8Array(new SharedArrayBuffer(padding + length), padding);
}

function gather(chunks: readonly Buffer[], length: number, headerLength: number): Uint8Array {
  const place = placeFor(length, headerLength);
  let at = 0;
  for (const chunk of chunks) {
    place.set(chunk, at);
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
