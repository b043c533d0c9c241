import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify';
import { BraidError } from '../../runtime/errors.js';
import type { Engine, LentMemory } from '../api.js';
import type { ModelRepository } from '../repository/repository.js';
import { readBody } from './body.js';
import { describeError, HttpError, type ErrorBody } from './errors.js';
import { HEADER_LENGTH, parseHeaderLength } from './protocol.js';
import { registerRoutes } from './routes.js';
import { packageVersion } from './version.js';

export interface ServerOptions {
  /** Fastify's logger: off (default), or pino's settings. */
  readonly logger?: FastifyServerOptions['logger'];
  /** Largest request body. */
  readonly maxBodyBytes?: number;
  /** How long a client may take to send a whole request. */
  readonly requestTimeoutMs?: number;
  /** How long an idle connection is kept for the next request. */
  readonly keepAliveTimeoutMs?: number;
  /** Whether the server calls itself ready although models failed to load. */
  readonly allowFailed?: boolean;
}

export const DEFAULT_MAX_BODY_BYTES = 64 * 1024 * 1024;
export const DEFAULT_REQUEST_TIMEOUT_MS = 60_000;
/** Longer than the 60 s of common load balancers, which would otherwise meet connections that just closed. */
export const DEFAULT_KEEP_ALIVE_TIMEOUT_MS = 72_000;
const MAX_REQUEST_ID_LENGTH = 128;
/** Of a model or version in a route; longer ones are no route. */
const MAX_NAME_LENGTH = 512;

/** The HTTP server over a repository. It owns neither the repository nor the engine: closing it leaves both open. */
export function createServer(repository: ModelRepository, options: ServerOptions = {}): FastifyInstance {
  const maxBodyBytes = options.maxBodyBytes ?? DEFAULT_MAX_BODY_BYTES;
  const server = Fastify({
    logger: options.logger ?? false,
    bodyLimit: maxBodyBytes,
    requestTimeout: options.requestTimeoutMs ?? DEFAULT_REQUEST_TIMEOUT_MS,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? DEFAULT_KEEP_ALIVE_TIMEOUT_MS,
    genReqId: requestId,
    // Fastify's answer has another form than ours; the onRequest hook below gives it.
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: MAX_NAME_LENGTH },
    frameworkErrors: answerError,
    clientErrorHandler: answerClientError,
  });

  let closing = false;
  server.addHook('preClose', async () => {
    closing = true;
  });
  server.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    if (closing) throw new BraidError('CLOSED', 'the server is shutting down and takes no new requests');
  });
  server.addHook('onSend', async (_request, reply) => {
    // A connection kept alive would hold up close() until its idle timeout.
    if (closing) reply.header('connection', 'close');
  });

  server.setErrorHandler(answerError);
  server.setNotFoundHandler((request) => {
    throw new HttpError(404, `no route ${request.method} ${request.url}, GET / lists the routes`);
  });

  server.removeAllContentTypeParsers();
  const read = (request: FastifyRequest, payload: IncomingMessage) =>
    receive(request, payload, maxBodyBytes, (bytes) => repository.lend(bytes));
  server.addContentTypeParser(['application/json', 'application/octet-stream'], read);
  server.addContentTypeParser('*', (request: FastifyRequest, payload: IncomingMessage) => {
    const type = request.headers['content-type'];
    // Clients that name no type are taken at their word: the body is checked all the same.
    if (type === undefined || request.is404) return read(request, payload);
    throw unsupportedType(type);
  });

  registerRoutes(server, repository, { version: packageVersion(), allowFailed: options.allowFailed ?? false });
  return server;
}

function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const type = request.headers['content-type'];
  const named = error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' && type !== undefined ? unsupportedType(type) : error;
  const { status, body } = describeError(named);
  if (status >= 500) request.log.error(error);
  reply.code(status).send(body);
}

function unsupportedType(type: string): HttpError {
  return new HttpError(
    415,
    `content-type '${type}' is not supported, expected application/json, or application/octet-stream with the header ` +
      'Inference-Header-Content-Length',
  );
}

/** Bytes that are no HTTP request, or one that took too long to arrive. There is no reply object to answer with. */
function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return;
  const [status, message] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['408 Request Timeout', 'the request took longer to arrive than the server waits']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'the headers are larger than the server reads']
        : ['400 Bad Request', `this is not an HTTP request: ${error.message}`];
  const body = JSON.stringify({ error: message, code: 'REQUEST_INVALID' } satisfies ErrorBody);
  socket.write(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
  socket.destroySoon();
}

async function receive(
  request: FastifyRequest,
  payload: IncomingMessage,
  limitBytes: number,
  lend: Engine['lend'],
): Promise<LentMemory | undefined> {
  // The answer is 404 whatever the body holds: it need not be kept.
  if (request.is404) return undefined;
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new HttpError(415, `content-encoding '${encoding}' is not supported, expected an uncompressed body`);
  }
  const contentLength = request.headers['content-length'];
  const layout = {
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
    headerLength: parseHeaderLength(request.headers[HEADER_LENGTH]),
    limitBytes,
  };
  return readBody(payload, layout, lend);
}

/** The client's X-Request-Id where it is short and printable, else a fresh one. */
function requestId(request: { headers: IncomingMessage['headers'] }): string {
  const given = request.headers['x-request-id'];
  const usable = typeof given === 'string' && given.length <= MAX_REQUEST_ID_LENGTH && /^[\x21-\x7e]+$/.test(given);
  return usable ? given : randomUUID();
}
