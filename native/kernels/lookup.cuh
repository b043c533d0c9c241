// Indices as lookups read them; what is checked, and how, is said in shaders/gather.ts.
#pragma once

#include "wgsl.cuh"

namespace wgsl {

constexpr u32 kNoRow = 0xffffffffu;

// Index `at` in 64 bits, low word first.
template <bool wide> BRAID_DEVICE vec2<u32> readId(const void *ids, u32 at) {
  if constexpr (wide) {
    const uint2 raw = __ldg((const uint2 *)ids + at);
    return vec2<u32>(raw.x, raw.y);
  } else {
    const u32 low = __ldg((const u32 *)ids + at);
    return vec2<u32>(low, (i32)low < 0 ? 0xffffffffu : 0u);
  }
}

// The row that an index names, from the end where it is negative; kNoRow where there is none.
BRAID_DEVICE u32 rowOf(const vec2<u32> &raw, u32 size) {
  const i32 low = (i32)raw.x;
  const u32 row = low < 0 ? size - (u32)-low : (u32)low;
  return raw.y == (low < 0 ? 0xffffffffu : 0u) && row < size ? row : kNoRow;
}

} // namespace wgsl
