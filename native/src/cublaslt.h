// Products by cuBLASLt, which is opened when it is first needed and may be missing.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "driver.h"

namespace braid {

// Why there is no cuBLASLt; empty where there is one.
std::string productsReason();
// The library and its version.
std::string productsName();

// Where a launch's argument names an operand, in words: the address of its stretch, and the first element in that.
struct OperandWords {
  uint32_t address, start;
};

// D = A B + bias of float32, row by row: A [m, k], B [k, n], or its columns one after another where it is `turned`. Pitches
// count elements.
struct Product {
  bool tf32, turned, hasBias, relu;
  int64_t n, k, pitchA, pitchB, pitchOut;
  OperandWords a, b, bias, out;
};

// The products of a device. Threads multiply while JavaScript adds others.
class Products {
public:
  ~Products();
  // Its number. Throws std::runtime_error where cuBLASLt is missing or takes no such product.
  size_t add(const Product &product, uint64_t likelyRows);
  // Multiplies m rows by the algorithm for `rows`, of which m are there, on a stream with a workspace of its own.
  void multiply(size_t index, uint64_t m, uint64_t rows, const unsigned char *argument, size_t bytes,
                CUdeviceptr workspace, CUstream stream);

  static constexpr size_t workspaceBytes = size_t(8) << 20;

private:
  struct Algorithm {
    uint64_t data[8];
  };
  Algorithm algorithm(size_t index, const Product &product, uint64_t rows);

  void *handle_ = nullptr;
  std::mutex mutex_;
  std::vector<Product> products_;
  std::map<std::pair<size_t, uint64_t>, Algorithm> algorithms_;
};

} // namespace braid
