import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { BraidError } from '../../runtime/errors.js';

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken, choose another with --port (0 picks a free one)',
  EACCES: 'the port needs more rights, choose one above 1023 with --port',
  ENOTFOUND: 'no such host name',
  EADDRNOTAVAIL: 'the address is none of this machine',
};

/**
 * Listens and tells where.
 * @returns the URL, with the port picked where `port` is 0.
 * @throws BraidError REQUEST_INVALID that names host and port and says what to do.
 */
export async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const reason = (code !== undefined && ADVICE[code]) || message;
    throw new BraidError('REQUEST_INVALID', `cannot listen on ${host}:${port}: ${reason}`, { cause: error });
  }
  const { address, family, port: bound } = server.server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${bound}`;
}
