import { describe, expect, it } from 'vitest';
import type { WebGpuProgram } from '../../../../shaders/program.js';
import { ENTRY_POINT, translate } from '../../../../runtime/backends/cuda/translate.js';

function program(source: string, fields: WebGpuProgram['fields'] = []): WebGpuProgram {
  return { key: 'test', source, fields, reportsErrors: false };
}

/** The source on one line, with single spaces. */
function flat(source: string, blocks = 1): string {
  return translate(program(source), blocks).source.replaceAll(/\s+/g, ' ');
}

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { }';

describe('translate', () => {
  it('makes buffers and functions members of the kernel, and blocks its argument', () => {
    const { source, threads, sharedBytes } = translate(
      program(`struct Params { @align(16) count: u32, shape: array<vec4<u32>, 1>, }
@group(0) @binding(0) var<uniform> blocks: array<Params, 128>;
@group(0) @binding(1) var<storage, read> data: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
fn twice(x: f32) -> f32 { return x + x; }
@compute @workgroup_size(96)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) { out[thread].x = twice(data[group.x]); }`),
      3,
    );
    expect(threads).toBe(96);
    expect(sharedBytes).toBe(0);
    const text = source.replaceAll(/\s+/g, ' ');
    expect(text).toContain('struct alignas(16) Params { u32 count; array < vec4 < u32 > , 1 > shape; };');
    expect(text).toContain('struct Arguments { Place buffers[2]; Params blocks[3]; };');
    expect(text).toContain('Reading<f32> data; Writing<vec4 < f32 >> out;');
    expect(text).toContain('BRAID_DEVICE f32 twice(f32 x) const { return x + x ; }');
    expect(text).toContain(`__launch_bounds__(96) ${ENTRY_POINT}(`);
    expect(text).toContain('kernel.main(vec3<u32>(blockIdx.x, blockIdx.y, blockIdx.z), threadIdx.x)');
  });

  it('gives variables types, values and what they shadow', () => {
    const text = flat(`${MAIN}
fn f(x: u32) -> f32 { let a = 1.5; var b: vec2<u32>; var c: f32 = 2e3; { let x = f32(x); return x * a * c; } }`);
    expect(text).toContain('const auto a = 1.5f ;');
    expect(text).toContain('vec2 < u32 > b = vec2 < u32 >() ;');
    expect(text).toContain('f32 c = 2e3f ;');
    expect(text).toContain('const auto x_before = x; const auto x = f32 ( x_before ) ;');
  });

  it('keeps operators whole, and tells them from the end of a type', () => {
    const text = flat(`${MAIN}
fn f(a: u32, b: u32) -> u32 { var c = array<vec4<u32>, 2>(); c[0].x >>= 2u; if (a >= b && a >> 1u != b) { c[0].y++; } return c[0].x - -1; }`);
    expect(text).toContain('>>= 2u');
    expect(text).toContain('a >= b && a >> 1u != b');
    expect(text).toContain('c [ 0 ] . y ++ ;');
    expect(text).toContain('- - 1');
  });

  it('makes functions of swizzles, and names of words that C++ keeps', () => {
    const text = flat(`${MAIN}
fn f(v: vec4<u32>) -> vec2<u32> { let half = v.zw; return half + v.xy * v.x; }`);
    expect(text).toContain('const auto half_ = v . zw() ;');
    expect(text).toContain('return half_ + v . xy() * v . x ;');
  });

  it('takes atomics and pointers for what they point at, workgroup memory for shared', () => {
    const text = flat(`${MAIN}
@group(0) @binding(1) var<storage, read_write> errors: array<atomic<u32>>;
var<workgroup> memory: array<vec4<f32>, 12>;
fn f(p: ptr<function, f32>) { *p += 1.0; atomicAdd(&errors[0], 1u); workgroupBarrier(); }`);
    expect(text).toContain('Writing<u32> errors;');
    expect(text).toContain('__shared__ array < vec4 < f32 > , 12 > memory;');
    expect(text).toContain('f32 * p');
    expect(text).toContain('atomicAdd ( & errors [ 0 ] , 1u ) ;');
  });

  it('calls the entry of a kernel written for CUDA in place of main', () => {
    const native = { header: 'x.cuh', call: 'run<4>(kernel)', threads: 128, residents: 2, sharedBytes: 1000 };
    const made = translate({ ...program('fn f() { }'), native }, 1);
    expect(made).toMatchObject({ threads: 128, sharedBytes: 1000 });
    expect(made.source).toContain('#include "x.cuh"');
    expect(made.source).toContain('__launch_bounds__(128, 2)');
    expect(made.source).toContain('  run<4>(kernel);');
  });

  it('refuses what it does not know', () => {
    expect(() => flat(`alias A = f32; ${MAIN}`)).toThrow("shader test: 'alias' is not translated to CUDA");
  });
});
