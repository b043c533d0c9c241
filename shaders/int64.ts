import { wgsl } from 'wgsl-preprocessor/wgsl-preprocessor.js';

/** Arithmetic on int64 held as vec2<u32> (low word, high word), two's complement. */
export const INT64 = wgsl`
fn i64_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn i64_neg(a: vec2<u32>) -> vec2<u32> { return i64_add(~a, vec2<u32>(1u, 0u)); }
fn i64_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return i64_add(a, i64_neg(b)); }
fn u32_mul_wide(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let ll = al * bl; let lh = al * bh; let hl = ah * bl;
  let middle = (ll >> 16u) + (lh & 0xffffu) + (hl & 0xffffu);
  return vec2<u32>((ll & 0xffffu) | (middle << 16u), ah * bh + (lh >> 16u) + (hl >> 16u) + (middle >> 16u));
}
fn i64_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = u32_mul_wide(a.x, b.x);
  return vec2<u32>(low.x, low.y + a.x * b.y + a.y * b.x);
}
fn i64_less(a: vec2<u32>, b: vec2<u32>) -> bool {
  let ah = bitcast<i32>(a.y); let bh = bitcast<i32>(b.y);
  return ah < bh || (ah == bh && a.x < b.x);
}
fn i64_abs(a: vec2<u32>) -> vec2<u32> { return select(a, i64_neg(a), bitcast<i32>(a.y) < 0); }
fn i64_to_f32(a: vec2<u32>) -> f32 {
  let negative = bitcast<i32>(a.y) < 0;
  let m = select(a, i64_neg(a), negative);
  let value = f32(m.y) * 4294967296.0 + f32(m.x);
  return select(value, -value, negative);
}
fn i64_from_i32(a: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(a), select(0u, 0xffffffffu, a < 0)); }
fn i64_from_f32(a: f32) -> vec2<u32> {
  let m = trunc(abs(a));
  let high = floor(m / 4294967296.0);
  let value = vec2<u32>(u32(m - high * 4294967296.0), u32(high));
  return select(value, i64_neg(value), a < 0.0);
}
`;
