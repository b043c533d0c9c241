// What the addon uses of cuBLASLt: functions, and the values of cublasLt.h and cublas_api.h as NVIDIA documents them in
// https://docs.nvidia.com/cuda/cublas/#cublaslt-datatypes-reference, so that no header of it is needed. They are those of
// CUDA 12 and 13.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

namespace braid::lt {

using Handle = void *;
using Description = void *;
using Layout = void *;
using Preference = void *;

struct Algorithm {
  uint64_t data[8];
};

struct Heuristic {
  Algorithm algorithm;
  size_t workspaceBytes;
  int state;
  float waves;
  int reserved[4];
};

enum ComputeType : int { Compute32F = 68, Compute32FFastTF32 = 77 };
enum DataType : int { Real32F = 0 };
enum Operation : int32_t { OperationN = 0, OperationT = 1 };
enum Epilogue : uint32_t { EpilogueDefault = 1, EpilogueRelu = 2, EpilogueBias = 4, EpilogueReluBias = 6 };
enum DescriptionAttribute : int { TransposeA = 3, EpilogueAttribute = 7, BiasPointer = 8 };
enum PreferenceAttribute : int { MaxWorkspaceBytes = 1, MinAlignmentA = 5, MinAlignmentB = 6, MinAlignmentC = 7, MinAlignmentD = 8 };

// Name of each function and its type; all return a status but the first two.
#define BRAID_LT_FUNCTIONS(F)                                                                                            \
  F(GetVersion, size_t())                                                                                                \
  F(GetStatusString, const char *(int))                                                                                  \
  F(Create, int(Handle *))                                                                                               \
  F(Destroy, int(Handle))                                                                                                \
  F(MatmulDescCreate, int(Description *, int, int))                                                                      \
  F(MatmulDescDestroy, int(Description))                                                                                 \
  F(MatmulDescSetAttribute, int(Description, int, const void *, size_t))                                                 \
  F(MatrixLayoutCreate, int(Layout *, int, uint64_t, uint64_t, int64_t))                                                 \
  F(MatrixLayoutDestroy, int(Layout))                                                                                    \
  F(MatmulPreferenceCreate, int(Preference *))                                                                           \
  F(MatmulPreferenceDestroy, int(Preference))                                                                            \
  F(MatmulPreferenceSetAttribute, int(Preference, int, const void *, size_t))                                            \
  F(MatmulAlgoGetHeuristic,                                                                                              \
    int(Handle, Description, Layout, Layout, Layout, Layout, Preference, int, Heuristic *, int *))                       \
  F(Matmul, int(Handle, Description, const void *, const void *, Layout, const void *, Layout, const void *,             \
                const void *, Layout, void *, Layout, const Algorithm *, void *, size_t, CUstream))

} // namespace braid::lt
