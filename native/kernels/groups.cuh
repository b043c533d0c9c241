// Matrix units of compute capability 9.0, by groups of four warps: products of 64 lines with operands in TF32 or float16
// and float32 sums. The second operand lies in shared memory, the first there or in registers. The units drop the bits of
// float32 that TF32 has not.
#pragma once

#include "tensor.cuh"

namespace wgsl {

typedef unsigned long long u64;

// What threads have written to shared memory becomes visible to the matrix units.
BRAID_DEVICE void showUnits() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
BRAID_DEVICE void beginGroup() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
BRAID_DEVICE void endGroup() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> BRAID_DEVICE void awaitGroups() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// The compiler does not know that sums change until their group is awaited: it may not move what reads them over this.
template <int N> BRAID_DEVICE void settle(f32 (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(c[i])::"memory");
}

// Lines of 128 bytes along k in blocks of 8, whose sixteens of bytes are swapped by the number of the line: how matrix units
// read them without two meeting in a bank.
BRAID_DEVICE u64 describe(u32 address) {
  return (u64)((address & 0x3ffff) >> 4) | (u64)1 << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// C += A B of 64 lines of A, c[4 j + e] being column 8 j + 2 (lane % 4) + e % 2 of line 16 warp + lane / 4 + 8 (e / 2). An
// instruction names each of its sums; `names` are those of the sums, `factors` those of the operands behind them.
#define BRAID_SUMS_4(i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define BRAID_SUMS_16(i) BRAID_SUMS_4(i), BRAID_SUMS_4(i + 4), BRAID_SUMS_4(i + 8), BRAID_SUMS_4(i + 12)
#define BRAID_SUMS_64(i) BRAID_SUMS_16(i), BRAID_SUMS_16(i + 16), BRAID_SUMS_16(i + 32), BRAID_SUMS_16(i + 48)
#define BRAID_NAMES_16 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define BRAID_NAMES_32 \
  BRAID_NAMES_16 \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define BRAID_NAMES_64 \
  BRAID_NAMES_32 \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define BRAID_NAMES_128 \
  BRAID_NAMES_64 \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define BRAID_MULTIPLY_GROUP(columns, names, factors, ...) \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n" columns \
               "k8.f32.tf32.tf32 {" names "}, " factors ", p, 1, 1; }" \
               : __VA_ARGS__ \
               : "l"(a), "l"(b))
BRAID_DEVICE void multiplyGroup(f32 (&c)[16], u64 a, u64 b) {
  BRAID_MULTIPLY_GROUP("32", BRAID_NAMES_16, "%16, %17", BRAID_SUMS_16(0));
}
BRAID_DEVICE void multiplyGroup(f32 (&c)[32], u64 a, u64 b) {
  BRAID_MULTIPLY_GROUP("64", BRAID_NAMES_32, "%32, %33", BRAID_SUMS_16(0), BRAID_SUMS_16(16));
}
BRAID_DEVICE void multiplyGroup(f32 (&c)[64], u64 a, u64 b) {
  BRAID_MULTIPLY_GROUP("128", BRAID_NAMES_64, "%64, %65", BRAID_SUMS_64(0));
}
BRAID_DEVICE void multiplyGroup(f32 (&c)[128], u64 a, u64 b) {
  BRAID_MULTIPLY_GROUP("256", BRAID_NAMES_128, "%128, %129", BRAID_SUMS_64(0), BRAID_SUMS_64(64));
}

// As above, the first operand in registers: a warp's 16 lines of 8 along k, a lane's as `multiply` in tensor.cuh has them, or
// of 16 in float16, as `multiplyHalves` has them. They may not change until their group is awaited.
#define BRAID_NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define BRAID_NAMES_24 BRAID_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define BRAID_NAMES_40 BRAID_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define BRAID_NAMES_48 BRAID_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define BRAID_NAMES_56 BRAID_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define BRAID_SUMS_8(i) BRAID_SUMS_4(i), BRAID_SUMS_4(i + 4)
#define BRAID_MULTIPLY_HELD(function, type, columns, names, factors, ...) \
  BRAID_DEVICE void function(f32 (&c)[columns / 2], const u32 (&a)[4], u64 b) { \
    asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; wgmma.mma_async.sync.aligned.m64n" #columns type \
                 "{" names "}, " factors ", p, 1, 1" BRAID_TURNED_##function "; }" \
                 : __VA_ARGS__ \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)); \
  }
// Of float16 the instruction is told whether the second operand is turned.
#define BRAID_TURNED_multiplyGroup ""
#define BRAID_TURNED_multiplyGroupHalves ", 0"
#define BRAID_MULTIPLY_HELD_ALL(function, type) \
  BRAID_MULTIPLY_HELD(function, type, 16, BRAID_NAMES_8, "{%8, %9, %10, %11}, %12", BRAID_SUMS_8(0)) \
  BRAID_MULTIPLY_HELD(function, type, 32, BRAID_NAMES_16, "{%16, %17, %18, %19}, %20", BRAID_SUMS_16(0)) \
  BRAID_MULTIPLY_HELD(function, type, 48, BRAID_NAMES_24, "{%24, %25, %26, %27}, %28", BRAID_SUMS_16(0), BRAID_SUMS_8(16)) \
  BRAID_MULTIPLY_HELD(function, type, 64, BRAID_NAMES_32, "{%32, %33, %34, %35}, %36", BRAID_SUMS_16(0), BRAID_SUMS_16(16)) \
  BRAID_MULTIPLY_HELD(function, type, 80, BRAID_NAMES_40, "{%40, %41, %42, %43}, %44", BRAID_SUMS_16(0), BRAID_SUMS_16(16), BRAID_SUMS_8(32)) \
  BRAID_MULTIPLY_HELD(function, type, 96, BRAID_NAMES_48, "{%48, %49, %50, %51}, %52", BRAID_SUMS_16(0), BRAID_SUMS_16(16), BRAID_SUMS_16(32)) \
  BRAID_MULTIPLY_HELD(function, type, 112, BRAID_NAMES_56, "{%56, %57, %58, %59}, %60", BRAID_SUMS_16(0), BRAID_SUMS_16(16), BRAID_SUMS_16(32), BRAID_SUMS_8(48)) \
  BRAID_MULTIPLY_HELD(function, type, 128, BRAID_NAMES_64, "{%64, %65, %66, %67}, %68", BRAID_SUMS_64(0))
BRAID_MULTIPLY_HELD_ALL(multiplyGroup, "k8.f32.tf32.tf32 ")
BRAID_MULTIPLY_HELD_ALL(multiplyGroupHalves, "k16.f32.f16.f16 ")
BRAID_MULTIPLY_HELD(multiplyGroupHalves, "k16.f32.f16.f16 ", 256, BRAID_NAMES_128, "{%128, %129, %130, %131}, %132", BRAID_SUMS_64(0), BRAID_SUMS_64(64))

} // namespace wgsl
