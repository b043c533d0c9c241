// Attention to a target on the matrix units of compute capability 9.0, in TF32 or float16; what it computes is said in
// shaders/target_attention.ts. shaders/target_attention_groups.ts writes the module around it: parameters, buffers, the
// functions of elements (`activate_first`, `activate_second`, `finish_score`), and where keys are looked up, `read_id` and
// `find_row`.
#pragma once

#include "groups.cuh"

namespace wgsl {

// Where parameters lie, in vectors of 4; see targetAttentionLayout.
struct AttentionParts {
  u32 keyWeights, pairWeights, secondWeights, secondBias, scoreWeights, scoreBias;
};

// Where features of keys from `first` on come from: lines `stride` words apart.
struct KeySource {
  const f32 *data;
  u32 stride, first;
};

// The first layer's sums are [k, k q] [W0, W1]: weights stay in shared memory for all rows. A team of `groups` times four warps
// takes a row, 64 keys a group, which are in shared memory; teams take rows in turn, so that some multiply while others load
// keys or mix them. `sources`: how many tables the features of a key come from; 0: keys lie row by row.
template <int length, int width, int first, int columns, int second, int sources, int groups, int teams, bool halves>
struct GroupedTargetAttention {
  static constexpr int teamThreads = 128 * groups, threads = teamThreads * teams;
  static constexpr int seconds = (second + 3) / 4 * 4;
  // Columns that the units have an instruction for.
  static constexpr int firstN = (columns + 15) / 16 * 16, secondN = (second + 15) / 16 * 16;
  static constexpr int fours = width / 4;
  // Lines of 32 words along k, all columns.
  static constexpr int chunkK = halves ? 64 : 32;
  static constexpr int chunks = (width + chunkK - 1) / chunkK, secondChunks = (firstN + chunkK - 1) / chunkK;
  static constexpr int chunkFirst = firstN * 32, chunkSecond = secondN * 32;
  static constexpr int secondAt = 2 * chunks * chunkFirst;
  static constexpr int linesAt = secondAt + secondChunks * chunkSecond;
  static constexpr int teamsAt = linesAt + 2 * secondN;
  // Lines are padded so that no two lanes of a load meet in a bank.
  static constexpr int keyLine = width + 4;
  static constexpr int shares = teamThreads / fours > 0 ? teamThreads / fours : 1;
  static constexpr int targetAt = length * keyLine;
  static constexpr int lineAt = targetAt + width;
  static constexpr int scoresAt = lineAt + firstN;
  static constexpr int mixedAt = scoresAt + (length + 3) / 4 * 4;
  static constexpr int foundAt = mixedAt + shares * width;
  static constexpr int teamWords = foundAt + (sources * length + 3) / 4 * 4;
  static constexpr int words = teamsAt + teams * teamWords;
  static constexpr int idsEach = sources > 0 ? (sources * length + teamThreads - 1) / teamThreads : 1;
  static constexpr int scoresEach = (length + 31) / 32;
  static_assert(width % 8 == 0 && columns % 8 == 0 && length <= 64 * groups, "matrix units take 8 features and 64 keys at a time");

  // Word k of column n where the units expect it, from the beginning of its chunk.
  static BRAID_DEVICE u32 place(u32 n, u32 k) { return n * 32 + ((k / 4 ^ n % 8) << 2) + k % 4; }

  // The word of the units that elements k and `next` are, the latter of float16 alone.
  template <class Element> static BRAID_DEVICE u32 wordOfWeights(const Element &element, u32 k, u32 next) {
    if constexpr (halves) return packHalves(__float_as_uint(element(k)), __float_as_uint(element(next)));
    else return tf32(__float_as_uint(element(k)));
  }

  static BRAID_DEVICE void loadWeights(f32 *memory, const f32 *w, const AttentionParts &at) {
    // Neighbours take neighbouring columns, each four words along k. Of float16 those of a lane are 4 apart, as packLines has them.
    constexpr u32 quarters = chunks * 8;
#pragma unroll 5
    for (u32 i = threadIdx.x; i < 2 * quarters * firstN; i += threads) {
      const u32 n = i % firstN, quarter = i / firstN % quarters, half = i / firstN / quarters;
      const f32 *from = w + 4 * (half == 0 ? at.keyWeights : at.pairWeights) + n;
      const auto element = [&](u32 k) { return n < columns && k < width ? __ldg(from + k * columns) : 0.0f; };
      u32 four[4];
#pragma unroll
      for (u32 e = 0; e < 4; e++) {
        const u32 k = quarter * (halves ? 8 : 4) + e;
        four[e] = wordOfWeights(element, k, k + 4);
      }
      *(uint4 *)(memory + (half * chunks + quarter / 8) * chunkFirst + place(n, quarter % 8 * 4)) =
          make_uint4(four[0], four[1], four[2], four[3]);
    }
    // What a lane holds of 8 hidden columns are two neighbours, where an operand of TF32 has two that are 4 apart: k follows.
    for (u32 i = threadIdx.x; i < secondChunks * 8 * secondN; i += threads) {
      const u32 n = i % secondN, quarter = i / secondN;
      const auto element = [&](u32 k) {
        return n < second && k < columns ? __ldg(w + 4 * at.secondWeights + k * seconds + n) : 0.0f;
      };
      u32 four[4];
#pragma unroll
      for (u32 e = 0; e < 4; e++) {
        const u32 k = halves ? quarter * 8 + e * 2 : quarter / 2 * 8 + e * 2 + quarter % 2;
        four[e] = wordOfWeights(element, k, k + 1);
      }
      *(uint4 *)(memory + secondAt + quarter / 8 * chunkSecond + place(n, quarter % 8 * 4)) =
          make_uint4(four[0], four[1], four[2], four[3]);
    }
    for (u32 n = threadIdx.x; n < secondN; n += threads) {
      memory[linesAt + n] = n < second ? __ldg(w + 4 * at.secondBias + n) : 0.0f;
      memory[linesAt + secondN + n] = n < second ? __ldg(w + 4 * at.scoreWeights + n) : 0.0f;
    }
  }

  template <class Kernel>
  static BRAID_DEVICE void score(const Kernel &kernel, u32 row, const f32 *memory, const f32 *team, const f32 *w, u32 wStart,
                                 const AttentionParts &at, f32 *scores) {
    const u32 z = blockIdx.z, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u32 keys0 = threadIdx.x / 32 * 16 % (64 * groups);
    const f32 *keys = team + min(keys0 + lane % 16, (u32)length - 1) * keyLine + lane / 16 * 4;
    const f32 *q = team + targetAt + t;
    const u32 base = sharedAddress(memory);
    f32 hidden[firstN / 2] = {};
    // Two steps along k at a time, while those before are multiplied.
#pragma unroll
    for (int k0 = 0; k0 < width; k0 += 16) {
      u32 own[2][4] = {}, pair[2][4] = {};
#pragma unroll
      for (int s = 0; s < 2; s++) {
        if (k0 + 8 * s >= width) continue;
        loadMatrices(own[s], keys + k0 + 8 * s);
        const f32 q0 = q[k0 + 8 * s], q1 = q[k0 + 8 * s + 4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const f32 product = __uint_as_float(own[s][e]) * (e < 2 ? q0 : q1);
          pair[s][e] = halves ? __float_as_uint(product) : nearest(product);
          if constexpr (!halves) own[s][e] = nearest(own[s][e]);
        }
      }
      if constexpr (halves) {
        u32 keyLines[4], pairLines[4];
        packLines(keyLines, own[0], own[1]);
        packLines(pairLines, pair[0], pair[1]);
        const int chunk = k0 / 64, step = k0 % 64 / 16;
        beginGroup();
        multiplyGroupHalves(hidden, keyLines, describe(base + 4 * chunk * chunkFirst) + 2 * step);
        multiplyGroupHalves(hidden, pairLines, describe(base + 4 * (chunks + chunk) * chunkFirst) + 2 * step);
      } else {
        beginGroup();
#pragma unroll
        for (int s = 0; s < 2; s++) {
          if (k0 + 8 * s >= width) continue;
          const int chunk = (k0 + 8 * s) / 32, step = (k0 + 8 * s) % 32 / 8;
          multiplyGroup(hidden, own[s], describe(base + 4 * chunk * chunkFirst) + 2 * step);
          multiplyGroup(hidden, pair[s], describe(base + 4 * (chunks + chunk) * chunkFirst) + 2 * step);
        }
      }
      endGroup();
      awaitGroups<1>();
    }
    awaitGroups<0>();
    settle(hidden);
    const f32 *line = team + lineAt + t * 2;
#pragma unroll
    for (int j = 0; j < firstN / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const u32 column = j * 8 + t * 2 + e % 2;
        const bool inside = firstN == first || column < first;
        hidden[4 * j + e] =
            inside ? kernel.activate_first(z, wStart, column, hidden[4 * j + e] + line[j * 8 + e % 2]) : 0.0f;
      }
    f32 sums[secondN / 2] = {};
    constexpr int words = halves ? 2 : 1;
    u32 made[firstN / 8 / words][4];
#pragma unroll
    for (int j = 0; j < firstN / 8 / words; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        if constexpr (halves) {
          const f32 *two = hidden + 4 * (2 * j + e / 2) + e % 2 * 2;
          made[j][e] = packHalves(__float_as_uint(two[0]), __float_as_uint(two[1]));
        } else {
          made[j][e] = nearest(hidden[4 * j + e % 2 * 2 + e / 2]);
        }
      }
    beginGroup();
#pragma unroll
    for (int j = 0; j < firstN / 8 / words; j++) {
      const u64 weights = describe(base + 4 * (secondAt + j / 4 * chunkSecond)) + 2 * (j % 4);
      if constexpr (halves) multiplyGroupHalves(sums, made[j], weights);
      else multiplyGroup(sums, made[j], weights);
    }
    endGroup();
    awaitGroups<0>();
    settle(sums);
    const f32 *bias = memory + linesAt + t * 2, *weights = bias + secondN;
    f32 out[2] = {0.0f, 0.0f};
#pragma unroll
    for (int i = 0; i < secondN / 8; i++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        if (i * 8 >= second) continue;
        const u32 column = i * 8 + e;
        if (second % 8 != 0 && column + t * 2 >= second) continue;
        out[0] += kernel.activate_second(z, sums[4 * i + e] + bias[column]) * weights[column];
        out[1] += kernel.activate_second(z, sums[4 * i + 2 + e] + bias[column]) * weights[column];
      }
    const f32 last = __ldg(w + 4 * at.scoreBias);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      out[half] += __shfl_xor_sync(0xffffffffu, out[half], 1);
      out[half] += __shfl_xor_sync(0xffffffffu, out[half], 2);
      const u32 key = keys0 + half * 8 + g;
      if (t == 0 && key < length) scores[key] = kernel.finish_score(z, row, key, out[half] + last);
    }
  }

  // Sums of the keys, weighed: parts of the keys to parts of the team, four features a thread.
  static BRAID_DEVICE f32 mix(f32 *team, u32 member) {
    const f32 *scores = team + scoresAt;
    const u32 lane = threadIdx.x % 32;
    f32 mine[scoresEach], largest = -3.4028234e38f, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < scoresEach; i++) {
      mine[i] = i * 32 + lane < length ? scores[i * 32 + lane] : -3.4028234e38f;
      largest = max(largest, mine[i]);
    }
#pragma unroll
    for (int gap = 16; gap > 0; gap /= 2) largest = max(largest, __shfl_xor_sync(0xffffffffu, largest, gap));
#pragma unroll
    for (int i = 0; i < scoresEach; i++)
      if (i * 32 + lane < length) sum += __expf(mine[i] - largest);
#pragma unroll
    for (int gap = 16; gap > 0; gap /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, gap);
    for (u32 i = member; i < fours * shares; i += teamThreads) {
      const u32 four = i % fours * 4, share = i / fours;
      float4 sums = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 4
      for (u32 key = share; key < length; key += shares) {
        const float4 k = *(const float4 *)(team + key * keyLine + four);
        const f32 weight = __expf(scores[key] - largest);
        sums.x = fma(weight, k.x, sums.x);
        sums.y = fma(weight, k.y, sums.y);
        sums.z = fma(weight, k.z, sums.z);
        sums.w = fma(weight, k.w, sums.w);
      }
      *(float4 *)(team + mixedAt + share * width + four) = sums;
    }
    return sum;
  }

  template <class Kernel>
  static BRAID_DEVICE void readIds(const Kernel &kernel, u32 row, u32 member, vec2<u32> (&ids)[idsEach]) {
#pragma unroll
    for (int i = 0; i < idsEach; i++) {
      const u32 at = member + i * teamThreads;
      if (at < sources * length) ids[i] = kernel.read_id(blockIdx.z, at / length, row, at % length);
    }
  }

  template <class Kernel>
  static BRAID_DEVICE void findRows(const Kernel &kernel, u32 row, u32 member, const vec2<u32> (&ids)[idsEach], u32 *found) {
#pragma unroll
    for (int i = 0; i < idsEach; i++) {
      const u32 at = member + i * teamThreads;
      if (at < sources * length) found[at] = kernel.find_row(blockIdx.z, at / length, row, at % length, ids[i]);
    }
  }

  template <int n> static BRAID_DEVICE u32 sourceAt(const KeySource (&from)[n], u32 feature) {
    u32 s = 0;
#pragma unroll
    for (int other = 1; other < n; other++)
      if (feature >= from[other].first) s = other;
    return s;
  }

  template <int n> static BRAID_DEVICE KeySource sourceOf(const KeySource (&from)[n], u32 feature) {
    KeySource source = from[0];
#pragma unroll
    for (int other = 1; other < n; other++)
      if (feature >= from[other].first) source = from[other];
    return source;
  }

  template <class Parameters>
  static BRAID_DEVICE void fetchFour(const Parameters &p, const KeySource &from, const u32 *found, u32 row, u32 key, u32 feature,
                                     f32 *team) {
    f32 *to = team + key * keyLine + feature;
    if constexpr (sources == 0) {
      copyFour(to, from.data + row * p.k_row + key * p.k_step + feature, true);
    } else {
      const u32 line = found[key];
      const bool inside = line != 0xffffffffu;
      copyRow(to, inside ? from.data + line * from.stride + (feature - from.first) : from.data, inside);
    }
  }

  // Begins to copy a row's keys, its target and its line of the first layer.
  template <class Kernel, int n>
  static BRAID_DEVICE void fetch(const Kernel &kernel, const KeySource (&from)[n], u32 row, u32 member, f32 *team) {
    const auto &p = kernel.blocks[blockIdx.z];
    const u32 *found = (const u32 *)(team + foundAt);
    if constexpr (teamThreads % fours == 0) {
      // A thread's features are the same of all its keys.
      constexpr int keysAtOnce = teamThreads / fours;
      const u32 feature = member % fours * 4;
      const KeySource mine = sourceOf(from, feature);
      const u32 *places = found + sourceAt(from, feature) * length;
#pragma unroll
      for (int i = 0; i < (length + keysAtOnce - 1) / keysAtOnce; i++) {
        const u32 key = i * keysAtOnce + member / fours;
        if (length % keysAtOnce == 0 || key < length) fetchFour(p, mine, places, row, key, feature, team);
      }
    } else {
      for (u32 i = member; i < length * fours; i += teamThreads) {
        const u32 feature = i % fours * 4;
        fetchFour(p, sourceOf(from, feature), found + sourceAt(from, feature) * length, row, i / fours, feature, team);
      }
    }
    for (u32 i = member; i < width + first; i += teamThreads) {
      if (i < width) copyOne(team + targetAt + i, kernel.q.data + p.q_start + row * p.q_row + i * p.q_column, true);
      else copyOne(team + lineAt + i - width, kernel.c.data + p.c_start + row * p.c_row + (i - width) * p.c_column, true);
    }
    endCopies();
  }

  static BRAID_DEVICE void meet(u32 team) {
    asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "n"(teamThreads) : "memory");
  }

  template <class Kernel, int n>
  static BRAID_DEVICE void run(const Kernel &kernel, const AttentionParts &at, const KeySource (&from)[n]) {
    extern __shared__ f32 whole[];
    f32 *memory = whole + ((sharedAddress(whole) + 1023) / 1024 * 1024 - sharedAddress(whole)) / 4;
    const auto &p = kernel.blocks[blockIdx.z];
    const f32 *w = (const f32 *)kernel.weights.data + p.weights_start;
    const u32 number = __shfl_sync(0xffffffffu, threadIdx.x / teamThreads, 0), member = threadIdx.x % teamThreads;
    f32 *team = memory + teamsAt + number * teamWords;
    u32 *found = (u32 *)(team + foundAt);
    const u32 step = gridDim.x * teams;
    u32 row = number * gridDim.x + blockIdx.x;
    vec2<u32> ids[idsEach];
    if (row < p.m) {
      if constexpr (sources > 0) {
        readIds(kernel, row, member, ids);
        findRows(kernel, row, member, ids, found);
        meet(number);
      }
      fetch(kernel, from, row, member, team);
    }
    loadWeights(memory, w, at);
    showUnits();
    __syncthreads();
    for (; row < p.m; row += step) {
      const u32 next = row + step;
      if constexpr (sources > 0)
        if (next < p.m) readIds(kernel, next, member, ids);
      // What scores are finished with is near by then.
      if (member < length) kernel.touch_others(blockIdx.z, row, member);
      awaitCopies<0>();
      meet(number);
      score(kernel, row, memory, team, w, p.weights_start / 4, at, team + scoresAt);
      meet(number);
      const f32 sum = mix(team, member);
      if constexpr (sources > 0)
        if (next < p.m) findRows(kernel, next, member, ids, found);
      meet(number);
      if (next < p.m) fetch(kernel, from, next, member, team);
      for (u32 f = member; f < width; f += teamThreads) {
        f32 mixed = 0.0f;
#pragma unroll
        for (u32 share = 0; share < shares; share++) mixed += team[mixedAt + share * width + f];
        kernel.out[p.out_start + row * p.out_row + f * p.out_column] = mixed / sum;
      }
    }
  }
};

} // namespace wgsl
