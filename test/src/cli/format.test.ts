import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { tensor } from '../../../runtime/graph/tensor.js';
import { parseModel } from '../../../src/cli/model.js';
import { parsePort, parseSeconds, parseSize, parseTolerance } from '../../../src/cli/options.js';
import { formatProgress, ProgressLine } from '../../../src/cli/progress.js';
import { curlLine, queryBody } from '../../../src/cli/query.js';
import { formatBytes, formatFields, formatTable } from '../../../src/cli/table.js';

describe('argument parsers', () => {
  test('ports', () => {
    expect(['0', '8080', '65535'].map(parsePort)).toEqual([0, 8080, 65535]);
    for (const text of ['65536', '-1', '80.5', 'http', '']) expect(() => parsePort(text)).toThrow('0 to 65535');
  });

  test('seconds', () => {
    expect(['0', '10', '0.5'].map(parseSeconds)).toEqual([0, 10, 0.5]);
    for (const text of ['-1', '10s', '', '1e9', '3000000'])
      expect(() => parseSeconds(text)).toThrow('number of seconds');
  });

  test('sizes', () => {
    expect(['1', '512KiB', '64mib', '1 GiB'].map(parseSize)).toEqual([1, 512 * 1024, 64 * 2 ** 20, 2 ** 30]);
    for (const text of ['0', '64MB', '-1', '1.5MiB', 'MiB', '', '99999999999GiB']) {
      expect(() => parseSize(text)).toThrow('number of bytes');
    }
  });

  test('tolerances', () => {
    expect(['0', '1e-4', '0.5'].map(parseTolerance)).toEqual([0, 1e-4, 0.5]);
    for (const text of ['-1e-4', 'x', '', 'Infinity', 'NaN'])
      expect(() => parseTolerance(text)).toThrow('such as 1e-5');
  });

  test('models', () => {
    expect(parseModel('models/a.onnx')).toEqual({ kind: 'file', path: 'models/a.onnx' });
    expect(parseModel('zoo:din')).toEqual({ kind: 'zoo', model: 'din', scale: 'demo' });
    expect(parseModel('zoo:bst:tiny')).toEqual({ kind: 'zoo', model: 'bst', scale: 'tiny' });
    expect(() => parseModel('zoo:')).toThrow(/''.*wnd/);
    expect(() => parseModel('zoo:dnn')).toThrow(/'dnn'.*wnd, din, dlrm, bst/);
    expect(() => parseModel('zoo:din:huge')).toThrow(/'huge'.*tiny, demo/);
    expect(() => parseModel('zoo:din:')).toThrow(/''/);
  });
});

describe('tables', () => {
  test('pads to the widest cell, numbers to the right', () => {
    expect(
      formatTable(
        [{ title: 'name' }, { title: 'n', align: 'right' }, { title: 'note' }],
        [
          ['a', '1', ''],
          ['longer', '100', 'x'],
        ],
      ),
    ).toBe('name      n  note\na         1\nlonger  100  x\n');
    expect(formatTable([{ title: 'a' }], [])).toBe('a\n');
  });

  test('fields and bytes', () => {
    expect(
      formatFields([
        ['a', '1'],
        ['long', ''],
      ]),
    ).toBe('a     1\nlong\n');
    expect([0, 1023, 1024, 1536, 3 * 2 ** 30].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '3.0 GiB',
    ]);
  });
});

describe('progress', () => {
  test('counts where there is something to count, and never wraps', () => {
    expect(formatProgress('wnd', { stage: 'upload', done: 3, total: 10 })).toBe('wnd: uploading weights 3/10');
    expect(formatProgress('wnd', { stage: 'read', done: 0, total: 1 })).toBe('wnd: reading');
    expect(formatProgress('x'.repeat(100), { stage: 'read', done: 0, total: 1 }, 20)).toHaveLength(19);
  });

  test('overwrites one line on a terminal and takes it away once', () => {
    let text = '';
    const line = new ProgressLine({ isTTY: true, columns: 80, write: (part) => (text += part) });
    line.update('m', { stage: 'compile', done: 1, total: 2 });
    line.clear();
    line.clear();
    expect(text).toBe('\r\u001b[Km: compiling 1/2\r\u001b[K');
  });

  test('shows nothing on a pipe', () => {
    let text = '';
    const line = new ProgressLine({ isTTY: false, write: (part) => (text += part) });
    line.update('m', { stage: 'compile', done: 1, total: 2 });
    line.clear();
    expect(text).toBe('');
  });
});

describe('queries', () => {
  test('a body in the protocol of the server', () => {
    const body = queryBody({ ids: tensor('int64', [1, 2], new BigInt64Array([1n, 2n])) });
    expect(JSON.parse(body)).toEqual({ inputs: [{ name: 'ids', datatype: 'INT64', shape: [1, 2], data: [1, 2] }] });
  });

  test('a curl line survives the shell', () => {
    const line = curlLine('http://127.0.0.1:1/a', `{"it's": "$HOME \\ \`x\`"}`);
    const printed = execFileSync('sh', ['-c', line.replace(/^curl /, `printf '%s\\n' `)], { encoding: 'utf8' });
    expect(printed.split('\n').slice(0, -1)).toEqual([
      '-s',
      'http://127.0.0.1:1/a',
      '-H',
      'content-type: application/json',
      '-d',
      `{"it's": "$HOME \\ \`x\`"}`,
    ]);
  });
});
