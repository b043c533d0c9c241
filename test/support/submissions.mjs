/**
 * Submissions to the CUDA addon over a driver without a device, told as JSON; a process of its own, which the linker shows
 * that driver. Run by test/runtime/backends/cuda/submission.test.ts: node submissions.mjs ADDON
 */
import { createRequire } from 'node:module';

const { Device } = createRequire(import.meta.url)(process.argv[2]);
const LANES = 4;
const MEGABYTE = 2 ** 20;
const [UPLOAD, DOWNLOAD, LAUNCH, WAIT, COPY, FILL, PRODUCT] = [2, 3, 1, 4, 6, 7, 8];
const waiting = new Map();
const device = new Device(0, LANES, (lane, point, reason, fault) => {
  waiting.get(lane)({ point, reason, fault });
  waiting.delete(lane);
});
const noArguments = new Uint32Array();

/** Resolves with what became of the submission. */
function submit(lane, commands, sources = []) {
  device.submit(lane, Float64Array.from(commands), commands.length, noArguments, sources);
  return new Promise((resolve) => waiting.set(lane, resolve));
}

/** Memory for so many bytes on the way up, on the device, and on the way back. */
function memoryOf(bytes) {
  return { up: device.pin(bytes), on: device.alloc(bytes), down: device.pin(bytes) };
}

function noise(bytes, seed) {
  const words = new Uint32Array(bytes / 4);
  let state = seed;
  for (let i = 0; i < words.length; i++) words[i] = state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer);
}

function thrown(call) {
  try {
    call();
    return '';
  } catch (error) {
    return error.message;
  }
}

/** Small ones on this thread, large ones on others: bytes have to come back as they went. */
async function roundTrips() {
  const memories = Array.from({ length: LANES }, () => memoryOf(2 * MEGABYTE));
  let wrong = 0;
  for (let round = 0; round < 20; round++) {
    const sizes = memories.map((_, lane) => (round % 2 === 0 ? 1024 : MEGABYTE) + 4 * lane);
    const sent = sizes.map((bytes, lane) => noise(bytes, 97 * round + lane));
    await Promise.all(
      memories.map(({ up, on, down }, lane) => {
        const [bytes, source] = [sizes[lane], sent[lane]];
        const half = Math.floor(bytes / 8) * 4;
        // Views in the middle of a buffer, of elements of several sizes.
        const sources = [new Uint32Array(source.buffer, 0, half / 4), source.subarray(half)];
        const commands = [COPY, up.address, 0, half, COPY, up.address + half, 1, bytes - half];
        commands.push(
          FILL,
          up.address + bytes,
          7 + lane,
          3,
          UPLOAD,
          on,
          up.address,
          bytes + 12,
          DOWNLOAD,
          down.address,
          on,
          bytes + 12,
        );
        return submit(lane, commands, sources);
      }),
    );
    memories.forEach(({ down }, lane) => {
      const bytes = sizes[lane];
      const same = Buffer.from(down.buffer, 0, bytes).equals(sent[lane]);
      const filled = new Uint32Array(down.buffer, bytes, 3).every((word) => word === 7 + lane);
      if (!same || !filled) wrong++;
    });
  }
  return wrong;
}

/** Lists that repeat, two in turn, among others that do not: every one of them brings what was uploaded before it. */
async function repeats() {
  const graphsBefore = device.limits().totalBytes - device.limits().freeBytes;
  const { up, on, down } = memoryOf(4096);
  let wrong = 0;
  for (let round = 0; round < 40; round++) {
    const sent = noise(1024, round);
    const bytes = round % 4 === 3 ? 16 + 4 * round : 512 + 512 * (round % 2);
    await submit(
      1,
      [COPY, up.address, 0, 1024, UPLOAD, on, up.address, 1024, DOWNLOAD, down.address, on, bytes],
      [sent],
    );
    if (!Buffer.from(down.buffer, 0, bytes).equals(sent.subarray(0, bytes))) wrong++;
  }
  return { wrong, graphs: device.limits().totalBytes - device.limits().freeBytes - graphsBefore };
}

/** The device reads whole pages of shared memory by itself, and nothing of them is copied before. */
async function adopts() {
  const memory = new Uint8Array(new SharedArrayBuffer(5 * 4096));
  const { address, offset, bytes } = device.adopt(memory);
  memory.set(noise(memory.length, 17));
  const { on, down } = memoryOf(bytes);
  await submit(0, [UPLOAD, on, address, bytes, DOWNLOAD, down.address, on, bytes]);
  const same = Buffer.from(down.buffer, 0, bytes).equals(memory.subarray(offset, offset + bytes));
  device.disown(address);
  const small = thrown(() => device.adopt(new Uint8Array(new SharedArrayBuffer(4000))));
  return { same, pages: bytes / 4096, offset, small, twice: thrown(() => device.disown(address)) };
}

/** A wave takes memory of another lane's that is still being copied: it may begin only once that one has. */
async function takesOver() {
  const [first, second] = [memoryOf(32 * MEGABYTE), memoryOf(1024)];
  const slow = noise(32 * MEGABYTE, 1);
  const point = device.submit(
    0,
    Float64Array.from([COPY, first.up.address, 0, slow.length, UPLOAD, first.on, first.up.address, slow.length]),
    8,
    noArguments,
    [slow],
  );
  const done = new Promise((resolve) => waiting.set(0, resolve));
  const over = submit(1, [WAIT, 0, point, DOWNLOAD, second.down.address, first.on, 1024]);
  await Promise.all([done, over]);
  return Buffer.from(second.down.buffer, 0, 1024).equals(slow.subarray(0, 1024));
}

/** A caller gives memory away before it is read: the copy waits for a lane that comes later. */
async function shrinks() {
  const bytes = MEGABYTE / 4;
  const { up, on } = memoryOf(2 * bytes);
  const resizable = new ArrayBuffer(bytes, { maxByteLength: bytes });
  const [kept, shrunk] = [noise(1024, 3), new Uint8Array(resizable).fill(1)];
  const { point } = await submit(0, []);
  const copies = [COPY, up.address, 0, 1024, COPY, up.address + 1024, 1, bytes];
  // With nothing else in flight this thread would copy.
  const large = memoryOf(32 * MEGABYTE);
  const other = submit(2, [COPY, large.up.address, 0, 32 * MEGABYTE], [noise(32 * MEGABYTE, 2)]);
  const ended = submit(1, [WAIT, 0, point + 1, ...copies, UPLOAD, on, up.address, bytes], [kept, shrunk]);
  resizable.resize(0);
  const [{ reason, fault }] = await Promise.all([ended, submit(0, []), other]);
  const zeros = new Uint8Array(up.buffer, 1024, bytes).every((byte) => byte === 0);
  return { reason, fault, zeros, kept: Buffer.from(up.buffer, 0, 1024).equals(kept) };
}

/** The same among many bytes, which threads share. */
async function shrinksAmongMany() {
  const bytes = 8 * MEGABYTE;
  const { up, on } = memoryOf(2 * bytes);
  const [first, second] = [noise(bytes, 11), noise(bytes, 12)];
  structuredClone(first, { transfer: [first.buffer] });
  const copies = [COPY, up.address, 0, bytes, COPY, up.address + bytes, 1, bytes];
  const { reason, fault } = await submit(0, [...copies, UPLOAD, on, up.address, 2 * bytes], [first, second]);
  return { reason, fault, kept: Buffer.from(up.buffer, bytes, bytes).equals(second) };
}

async function detached() {
  const { up } = memoryOf(1024);
  const data = noise(1024, 5);
  structuredClone(data, { transfer: [data.buffer] });
  return submit(0, [COPY, up.address, 0, 1024], [data]);
}

/** What differs from the product, by the place of the command's argument that names each operand. */
async function product({ m, n, k, turned, hasBias, relu }) {
  const [aPitch, outPitch] = [k + 3, n + 2];
  const bPitch = turned ? k + 1 : n + 1;
  const value = (i, seed) => ((i * 7 + seed * 5) % 11) - 5;
  const filled = (count, seed) => Float32Array.from({ length: count }, (_, i) => value(i, seed));
  const operands = {
    a: filled(4 + m * aPitch, 1),
    b: filled(8 + (turned ? n : k) * bPitch, 2),
    bias: filled(12 + n, 3),
    out: new Float32Array(16 + m * outPitch),
  };
  const starts = { a: 4, b: 8, bias: 12, out: 16 };
  const [words, places, memories] = [new Uint32Array(64), {}, {}];
  const sent = [];
  Object.entries(operands).forEach(([name, data], i) => {
    const memory = memoryOf(data.byteLength);
    new Uint8Array(memory.up.buffer).set(new Uint8Array(data.buffer));
    sent.push(UPLOAD, memory.on, memory.up.address, data.byteLength);
    words[8 + 4 * i] = memory.on % 2 ** 32;
    words[8 + 4 * i + 1] = Math.floor(memory.on / 2 ** 32);
    words[40 + i] = starts[name];
    places[name] = [4 * i, 32 + i];
    memories[name] = memory;
  });
  const form = { tf32: false, turned, hasBias, relu, n, k, aPitch, bPitch, outPitch, ...places };
  const index = device.loadProduct(form, 1024);
  const { out } = memories;
  device.submit(
    0,
    Float64Array.from([
      ...sent,
      PRODUCT,
      index,
      m,
      1024,
      32,
      224,
      DOWNLOAD,
      out.down.address,
      out.on,
      operands.out.byteLength,
    ]),
    sent.length + 10,
    words,
    [],
  );
  const { reason } = await new Promise((resolve) => waiting.set(0, resolve));
  if (reason !== '') return reason;
  const found = new Float32Array(out.down.buffer, 0, operands.out.length);
  let wrong = 0;
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < n; column++) {
      let sum = hasBias ? operands.bias[12 + column] : 0;
      for (let i = 0; i < k; i++)
        sum += operands.a[4 + row * aPitch + i] * operands.b[8 + (turned ? column * bPitch + i : i * bPitch + column)];
      if (found[16 + row * outPitch + column] !== (relu ? Math.max(0, sum) : sum)) wrong++;
    }
  }
  return wrong;
}

async function products() {
  const all = [];
  for (const turned of [false, true])
    for (const hasBias of [false, true])
      for (const relu of [false, true]) all.push(await product({ m: 5, n: 7, k: 9, turned, hasBias, relu }));
  return all;
}

const ONE_COLUMN = {
  tf32: true,
  turned: false,
  hasBias: false,
  relu: false,
  n: 1,
  k: 4,
  aPitch: 4,
  bPitch: 4,
  outPitch: 4,
  a: [0, 0],
  b: [0, 0],
  out: [0, 0],
};

const report = {
  noProduct: await submit(0, [PRODUCT, 0, 1, 1, 0, 0]),
  products: await products(),
  refusedProduct: thrown(() => device.loadProduct(ONE_COLUMN, 1024)),
  noOperand: await submit(0, [PRODUCT, 0, 1, 1, 0, 0]),
  roundTrips: await roundTrips(),
  repeats: await repeats(),
  adopts: await adopts(),
  takesOver: await takesOver(),
  shrinks: await shrinks(),
  shrinksAmongMany: await shrinksAmongMany(),
  detached: await detached(),
  noKernel: await submit(0, [LAUNCH, 5, 1, 1, 32, 0, 0, 0]),
  unknown: await submit(0, [99]),
  afterwards: await submit(0, []),
  noArray: thrown(() => device.submit(0, new Float64Array(), 0, noArguments, [{}])),
  noLane: thrown(() => device.submit(LANES, new Float64Array(), 0, noArguments, [])),
};
// What is under way is carried out before a device closes.
const last = memoryOf(32 * MEGABYTE);
waiting.set(0, () => {});
device.submit(0, Float64Array.from([COPY, last.up.address, 0, 32 * MEGABYTE]), 4, noArguments, [
  noise(32 * MEGABYTE, 9),
]);
report.busy = thrown(() => device.submit(0, new Float64Array(), 0, noArguments, []));
device.close();
console.log(JSON.stringify(report));
