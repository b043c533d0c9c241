// Matrix units, and copies to shared memory in the background: PTX that compute capability 8.0 brought.
#pragma once

#include "wgsl.cuh"

namespace wgsl {

BRAID_DEVICE u32 sharedAddress(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// Copies to shared memory in the background; zeros where there is nothing to copy.
BRAID_DEVICE void copyFour(f32 *to, const f32 *from, bool inside) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(inside ? 16 : 0));
}
// The same through the first cache: rows of tables, of which some are asked for far more often than others, such as that of
// padding, would have all multiprocessors wait for the same part of the second cache.
BRAID_DEVICE void copyRow(f32 *to, const f32 *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(inside ? 16 : 0));
}
BRAID_DEVICE void copyOne(f32 *to, const f32 *from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(inside ? 4 : 0));
}
BRAID_DEVICE void endCopies() { asm volatile("cp.async.commit_group;"); }
template <int N> BRAID_DEVICE void awaitCopies() { asm volatile("cp.async.wait_group %0;" ::"n"(N)); }

BRAID_DEVICE u32 tf32(u32 bits) {
  u32 out;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(out) : "f"(__uint_as_float(bits)));
  return out;
}

// Element `at` of a buffer of fours.
template <class Fours> BRAID_DEVICE f32 wordOf(const Fours &fours, u32 at) { return __ldg((const f32 *)fours.data + at); }

// Makes a load happen, and brings what it reads near.
BRAID_DEVICE void touch(u32 value) { asm volatile("" ::"r"(value)); }
BRAID_DEVICE void touch(i32 value) { touch((u32)value); }
BRAID_DEVICE void touch(f32 value) { touch(__float_as_uint(value)); }

// To the nearest TF32, for what the units cut: not for what is no number.
BRAID_DEVICE u32 nearest(u32 bits) { return bits + 0x1000; }
BRAID_DEVICE u32 nearest(f32 value) { return nearest(__float_as_uint(value)); }

// Four 8x4 matrices of words: lane l gives the row l % 8 of matrix l / 8, and gets of each the word (l / 4, l % 4).
BRAID_DEVICE void loadMatrices(u32 (&out)[4], const f32 *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(sharedAddress(row)));
}

BRAID_DEVICE void multiply(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two values as float16, rounded to the nearest: what float16 cannot hold becomes infinite.
BRAID_DEVICE u32 packHalves(u32 low, u32 high) {
  u32 out;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(__uint_as_float(high)), "f"(__uint_as_float(low)));
  return out;
}

// Two steps of 8 along k, a lane's as `multiply` has them, as one of 16 in float16: its words t and t + 4 become neighbours, so
// that k is in another order, the same in both operands.
BRAID_DEVICE void packLines(u32 (&out)[4], const u32 (&first)[4], const u32 (&second)[4]) {
  out[0] = packHalves(first[0], first[2]), out[1] = packHalves(first[1], first[3]);
  out[2] = packHalves(second[0], second[2]), out[3] = packHalves(second[1], second[3]);
}

BRAID_DEVICE void multiplyHalves(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Products of float32 operands on matrix units in TF32, or in float16 where `halves`: a step of 8 along k.
template <bool halves> struct Units {
  // What is rounded once for all of its products; to float16 `multiply` rounds, two at a time.
  static BRAID_DEVICE u32 rounded(u32 bits) { return halves ? bits : tf32(bits); }
  static BRAID_DEVICE u32 rounded(f32 value) { return rounded(__float_as_uint(value)); }

  static BRAID_DEVICE void multiply(f32 (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    if constexpr (halves)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
                   : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                   : "r"(packHalves(a[0], a[2])), "r"(packHalves(a[1], a[3])), "r"(packHalves(b0, b1)));
    else wgsl::multiply(c, a, b0, b1);
  }
};

} // namespace wgsl
