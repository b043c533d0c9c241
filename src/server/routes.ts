import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { BraidError } from '../../runtime/errors.js';
import type { LentMemory } from '../api.js';
import type { ModelRepository } from '../repository/repository.js';
import { decodeInfer, describeTensor, encodeInfer, HEADER_LENGTH, parseHeaderLength } from './protocol.js';

/** Named in metadata: what a model is and what runs it. */
const PLATFORM = 'onnx_webgpu';

export interface RouteOptions {
  readonly version: string;
  /** The server is ready even where models failed to load. */
  readonly allowFailed: boolean;
}

interface ModelParams {
  readonly model: string;
  readonly version?: string;
}

/** Registers every route of the Open Inference Protocol, and `/` with links to them. */
export function registerRoutes(server: FastifyInstance, repository: ModelRepository, options: RouteOptions): void {
  server.get('/', () => ({
    name: 'braid',
    version: options.version,
    models: repository.list().map(({ name, version, state }) => ({
      name,
      version,
      state,
      metadata: `/v2/models/${encodeURIComponent(name)}/versions/${version}`,
      infer: `/v2/models/${encodeURIComponent(name)}/versions/${version}/infer`,
    })),
    links: { metadata: '/v2', live: '/v2/health/live', ready: '/v2/health/ready' },
  }));

  server.get('/v2', () => ({ name: 'braid', version: options.version, extensions: ['binary_tensor_data'] }));

  server.get('/v2/health/live', () => ({ live: true }));

  server.get('/v2/health/ready', () => {
    checkReady(repository, options.allowFailed);
    return { ready: true };
  });

  for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
    server.get<{ Params: ModelParams }>(path, ({ params }) => {
      const model = repository.get(params.model, params.version);
      return {
        name: params.model,
        versions: repository.versions(params.model),
        platform: PLATFORM,
        inputs: model.inputs.map(describeTensor),
        outputs: model.outputs.map(describeTensor),
        ...(model.notices.length > 0 ? { parameters: { notices: model.notices } } : {}),
      };
    });

    server.get<{ Params: ModelParams }>(`${path}/ready`, ({ params }) => {
      repository.get(params.model, params.version);
      return { name: params.model, ready: true };
    });

    server.post<{ Params: ModelParams; Body: LentMemory | undefined }>(`${path}/infer`, async (request, reply) => {
      try {
        return await infer(repository, request, reply);
      } finally {
        request.body?.release();
      }
    });
  }
}

function checkReady(repository: ModelRepository, allowFailed: boolean): void {
  const missing = repository
    .list()
    .filter(({ state }) => state === 'loading' || (state === 'failed' && !allowFailed))
    .map(
      ({ name, version, state }) =>
        `model '${name}' version ${version} ${state === 'failed' ? 'failed to load' : 'is loading'}`,
    );
  if (missing.length > 0) throw new BraidError('MODEL_NOT_READY', `not ready: ${missing.join(', ')}`);
}

async function infer(
  repository: ModelRepository,
  request: FastifyRequest<{ Params: ModelParams; Body: LentMemory | undefined }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { version } = repository.status(request.params.model, request.params.version);
  const model = repository.get(request.params.model, version);
  const headerLength = parseHeaderLength(request.headers[HEADER_LENGTH]);
  const {
    id,
    inputs,
    outputs: requested,
    deadlineMs,
  } = decodeInfer(request.body?.bytes ?? new Uint8Array(), headerLength, {
    name: request.params.model,
    inputs: model.inputs,
    outputs: model.outputs,
  });
  const outputs = await model.run(inputs, {
    outputs: requested.map(({ name }) => name),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  });
  const encoded = encodeInfer({
    modelName: request.params.model,
    modelVersion: version,
    ...(id === undefined ? {} : { id }),
    requested,
    outputs,
  });
  if (encoded.headerLength === undefined) reply.type('application/json; charset=utf-8');
  else reply.type('application/octet-stream').header(HEADER_LENGTH, encoded.headerLength);
  return reply.send(encoded.body);
}
