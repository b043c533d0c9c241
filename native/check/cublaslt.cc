// A cuBLASLt for tests without a GPU: it multiplies on the host, whose memory is the device's (see driver.cc). Built as
// libcublasLt.so.13.
#include "cublaslt_api.h"

#include <algorithm>
#include <cstring>

using namespace braid::lt;

namespace {

struct Matrix {
  uint64_t rows, columns;
  int64_t pitch;
};

struct Operations {
  int32_t transposed = OperationN;
  uint32_t epilogue = EpilogueDefault;
  const float *bias = nullptr;
};

// Of cublasStatus_t.
enum Status : int { Success = 0, InvalidValue = 7 };

} // namespace

extern "C" {

size_t cublasLtGetVersion() { return 130000; }
const char *cublasLtGetStatusString(int status) { return status == Success ? "success" : "refused"; }
int cublasLtCreate(Handle *handle) { return *handle = handle, Success; }
int cublasLtDestroy(Handle) { return Success; }

int cublasLtMatmulDescCreate(Description *made, int, int) { return *made = new Operations, Success; }
int cublasLtMatmulDescDestroy(Description made) { return delete (Operations *)made, Success; }
int cublasLtMatmulDescSetAttribute(Description made, int attribute, const void *value, size_t bytes) {
  auto &operations = *(Operations *)made;
  if (attribute == TransposeA) std::memcpy(&operations.transposed, value, bytes);
  else if (attribute == EpilogueAttribute) std::memcpy(&operations.epilogue, value, bytes);
  else if (attribute == BiasPointer) std::memcpy(&operations.bias, value, bytes);
  else return InvalidValue;
  return Success;
}

int cublasLtMatrixLayoutCreate(Layout *made, int, uint64_t rows, uint64_t columns, int64_t pitch) {
  return *made = new Matrix{rows, columns, pitch}, Success;
}
int cublasLtMatrixLayoutDestroy(Layout made) { return delete (Matrix *)made, Success; }

int cublasLtMatmulPreferenceCreate(Preference *made) { return *made = new int, Success; }
int cublasLtMatmulPreferenceDestroy(Preference made) { return delete (int *)made, Success; }
int cublasLtMatmulPreferenceSetAttribute(Preference, int, const void *, size_t) { return Success; }

// A product of one column of D there is no algorithm for: something has to be refused.
int cublasLtMatmulAlgoGetHeuristic(Handle, Description, Layout, Layout, Layout, Layout out, Preference, int, Heuristic *,
                                   int *count) {
  return *count = ((Matrix *)out)->rows == 1 ? 0 : 1, Success;
}

int cublasLtMatmul(Handle, Description description, const void *alpha, const void *first, Layout firstLayout,
                   const void *second, Layout secondLayout, const void *, const void *, Layout, void *result,
                   Layout resultLayout, const Algorithm *, void *, size_t, CUstream) {
  const auto &operations = *(Operations *)description;
  const auto &a = *(Matrix *)firstLayout, &b = *(Matrix *)secondLayout, &d = *(Matrix *)resultLayout;
  const bool turned = operations.transposed == OperationT;
  if ((turned ? a.columns : a.rows) != d.rows || (turned ? a.rows : a.columns) != b.rows || b.columns != d.columns)
    return InvalidValue;
  for (uint64_t column = 0; column < d.columns; column++)
    for (uint64_t row = 0; row < d.rows; row++) {
      float sum = 0;
      for (uint64_t k = 0; k < b.rows; k++)
        sum += ((const float *)first)[turned ? row * a.pitch + k : k * a.pitch + row] *
               ((const float *)second)[column * b.pitch + k];
      sum *= *(const float *)alpha;
      if (operations.epilogue & EpilogueBias) sum += operations.bias[row];
      ((float *)result)[column * d.pitch + row] = operations.epilogue & EpilogueRelu ? std::max(sum, 0.0f) : sum;
    }
  return Success;
}
}
