import { describe, expect, it } from 'vitest';
import { CommandList, OPERATIONS } from '../../../../runtime/backends/cuda/commands.js';

describe('CommandList', () => {
  it('writes each command as its operation and numbers', () => {
    const list = new CommandList();
    const address = 2 ** 47 + 12;
    list.wait(3, 17);
    list.copy(4096, 2, 24);
    list.fill(8192, 5, 3);
    list.upload(address, 64, 100);
    list.clock(0);
    list.launch({ kernel: 7, gridX: 100, gridZ: 2, threads: 256, sharedBytes: 1024, offset: 512, bytes: 96 });
    list.product({ product: 3, m: 250, chosenFor: 256, offset: 1024, bytes: 224 });
    list.clock(1);
    list.download(64, address, 40);
    const expected = [
      [OPERATIONS.wait, 3, 17],
      [OPERATIONS.copy, 4096, 2, 24],
      [OPERATIONS.fill, 8192, 5, 3],
      [OPERATIONS.upload, address, 64, 100],
      [OPERATIONS.clock, 0],
      [OPERATIONS.launch, 7, 100, 2, 256, 1024, 512, 96],
      [OPERATIONS.product, 3, 250, 256, 1024, 224],
      [OPERATIONS.clock, 1],
      [OPERATIONS.download, 64, address, 40],
    ];
    expect([...list.numbers.subarray(0, list.count)]).toEqual(expected.flat());
    list.clear();
    expect(list.count).toBe(0);
  });

  it('takes over another list', () => {
    const [one, other] = [new CommandList(), new CommandList()];
    one.clock(1);
    for (let i = 0; i < 500; i++) other.clock(i);
    one.append(other);
    expect(one.count).toBe(1002);
    expect([...one.numbers.subarray(0, 4), one.numbers[1001]]).toEqual([OPERATIONS.clock, 1, OPERATIONS.clock, 0, 499]);
  });

  it('grows', () => {
    const list = new CommandList();
    for (let i = 0; i < 1000; i++) list.clock(i);
    expect(list.count).toBe(2000);
    expect(list.numbers[1999]).toBe(999);
  });
});
