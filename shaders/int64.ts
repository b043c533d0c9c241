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
fn u64_less(a: vec2<u32>, b: vec2<u32>) -> bool { return a.y < b.y || (a.y == b.y && a.x < b.x); }
fn i64_shift_left(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n >= 64u) { return vec2<u32>(); }
  if (n >= 32u) { return vec2<u32>(0u, a.x << (n - 32u)); }
  if (n == 0u) { return a; }
  return vec2<u32>(a.x << n, (a.y << n) | (a.x >> (32u - n)));
}
fn u64_shift_right(a: vec2<u32>, n: u32) -> vec2<u32> {
  if (n >= 64u) { return vec2<u32>(); }
  if (n >= 32u) { return vec2<u32>(a.y >> (n - 32u), 0u); }
  if (n == 0u) { return a; }
  return vec2<u32>((a.x >> n) | (a.y << (32u - n)), a.y >> n);
}
// An amount to shift by: everything is out at 64.
fn u64_amount(a: vec2<u32>) -> u32 { return select(min(a.x, 64u), 64u, a.y != 0u); }
// Quotient in xy, remainder in zw; a quotient by 0 is all ones.
fn u64_divide(a: vec2<u32>, b: vec2<u32>) -> vec4<u32> {
  if (a.y == 0u && b.y == 0u && b.x != 0u) { return vec4<u32>(a.x / b.x, 0u, a.x % b.x, 0u); }
  var quotient = vec2<u32>();
  var rest = vec2<u32>();
  for (var bit = 64u; bit > 0u; bit--) {
    // The bit that leaves the remainder counts: it is below 2^65 for a moment.
    let carry = rest.y >> 31u;
    rest = i64_shift_left(rest, 1u) | vec2<u32>(u64_shift_right(a, bit - 1u).x & 1u, 0u);
    quotient = i64_shift_left(quotient, 1u);
    if (carry == 1u || !u64_less(rest, b)) {
      rest = i64_sub(rest, b);
      quotient.x |= 1u;
    }
  }
  return vec4<u32>(quotient, rest);
}
fn u64_div(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return u64_divide(a, b).xy; }
fn u64_rem(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return u64_divide(a, b).zw; }
// Rounds towards zero, the remainder has the sign of the dividend.
fn i64_div(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let quotient = u64_div(i64_abs(a), i64_abs(b));
  return select(quotient, i64_neg(quotient), ((a.y ^ b.y) >> 31u) == 1u);
}
fn i64_rem(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let rest = u64_rem(i64_abs(a), i64_abs(b));
  return select(rest, i64_neg(rest), (a.y >> 31u) == 1u);
}
// Rounded to nearest even: WGSL leaves the rounding of its own conversions open.
fn u64_to_f32(a: vec2<u32>) -> f32 {
  if (a.y == 0u && a.x < 16777216u) { return f32(a.x); }
  let zeros = select(countLeadingZeros(a.y), 32u + countLeadingZeros(a.x), a.y == 0u);
  let m = i64_shift_left(a, zeros);
  let rest = vec2<u32>(m.x, m.y & 0xffu);
  let top = m.y >> 8u;
  let half = rest.y == 0x80u && rest.x == 0u;
  let up = select(rest.y >= 0x80u, (top & 1u) == 1u, half);
  // 190 is the exponent of 2^63; the leading bit of the mantissa adds one to it, as does a carry out of rounding.
  return bitcast<f32>(((189u - zeros) << 23u) + top + select(0u, 1u, up));
}
fn i64_to_f32(a: vec2<u32>) -> f32 {
  let value = u64_to_f32(i64_abs(a));
  return select(value, -value, bitcast<i32>(a.y) < 0);
}
fn i64_from_i32(a: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(a), select(0u, 0xffffffffu, a < 0)); }
// Truncates; NaN is 0, and what is out of range stops at the ends of the range.
fn u64_from_magnitude(a: f32) -> vec2<u32> {
  let m = trunc(a);
  let high = floor(m / 4294967296.0);
  return vec2<u32>(u32(m - high * 4294967296.0), u32(high));
}
fn i64_from_f32(a: f32) -> vec2<u32> {
  if ((bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u) { return vec2<u32>(); }
  if (a >= 9223372036854775808.0) { return vec2<u32>(0xffffffffu, 0x7fffffffu); }
  if (a <= -9223372036854775808.0) { return vec2<u32>(0u, 0x80000000u); }
  let value = u64_from_magnitude(abs(a));
  return select(value, i64_neg(value), a < 0.0);
}
fn u64_from_f32(a: f32) -> vec2<u32> {
  if ((bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u) { return vec2<u32>(); }
  if (a >= 18446744073709551616.0) { return vec2<u32>(0xffffffffu, 0xffffffffu); }
  return u64_from_magnitude(max(a, 0.0));
}
fn i64_power(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  var result = vec2<u32>(1u, 0u);
  var base = a;
  for (var e = b; any(e != vec2<u32>()); e = u64_shift_right(e, 1u)) {
    if ((e.x & 1u) == 1u) { result = i64_mul(result, base); }
    base = i64_mul(base, base);
  }
  return result;
}
`;
