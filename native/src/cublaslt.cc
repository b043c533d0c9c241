#include "cublaslt.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "cublaslt_api.h"
#include "library.h"

namespace braid {

namespace {

using namespace lt;

struct Lt {
#define BRAID_LT_DECLARE(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  BRAID_LT_FUNCTIONS(BRAID_LT_DECLARE)
#undef BRAID_LT_DECLARE
  std::string reason;
  std::string name;
};

void openLt(Lt &l) {
  static Library opened;
  std::vector<std::string> names = {"libcublasLt.so.13", "libcublasLt.so.12"};
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char *home = std::getenv(variable)) names.push_back(std::string(home) + "/lib64/libcublasLt.so");
  names.push_back("/usr/local/cuda/lib64/libcublasLt.so");
  if (!opened.open(names)) {
    l.reason = "cuBLASLt is missing: " + opened.reason();
    return;
  }
  bool found = true;
#define BRAID_LT_FIND(function, ...) found = found && opened.find(l.function, "cublasLt" #function);
  BRAID_LT_FUNCTIONS(BRAID_LT_FIND)
#undef BRAID_LT_FIND
  if (!found) {
    l.reason = opened.reason();
    return;
  }
  const size_t version = l.GetVersion();
  const size_t major = version / 10000;
  l.name = opened.name() + " " + std::to_string(major) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
  if (major < 12) l.reason = l.name + " is older than CUDA 12";
}

const Lt &library() {
  static Lt l;
  static std::once_flag once;
  std::call_once(once, [] { openLt(l); });
  return l;
}

void check(int status, const char *call) {
  if (status != 0) throw std::runtime_error(std::string("cublasLt") + call + ": " + library().GetStatusString(status));
}
#define LT(name, ...) check(library().name(__VA_ARGS__), #name)

// Owns what cuBLASLt made.
class Made {
public:
  using Destroy = int (*)(void *);
  explicit Made(Destroy destroy) : destroy_(destroy) {}
  ~Made() {
    if (made) destroy_(made);
  }
  Made(const Made &) = delete;
  void *made = nullptr;

private:
  Destroy destroy_;
};

// A product of so many rows as cuBLASLt has it. It counts by columns: D^T = B^T A^T.
struct Call {
  Call(const Product &p, uint64_t m)
      : description(library().MatmulDescDestroy), a(library().MatrixLayoutDestroy), b(library().MatrixLayoutDestroy),
        out(library().MatrixLayoutDestroy) {
    LT(MatmulDescCreate, &description.made, p.tf32 ? Compute32FFastTF32 : Compute32F, Real32F);
    const int32_t operation = p.turned ? OperationT : OperationN;
    set(TransposeA, operation);
    const uint32_t epilogue = p.hasBias ? (p.relu ? EpilogueReluBias : EpilogueBias) : p.relu ? EpilogueRelu : EpilogueDefault;
    set(EpilogueAttribute, epilogue);
    if (p.turned) LT(MatrixLayoutCreate, &b.made, Real32F, p.k, p.n, p.pitchB);
    else LT(MatrixLayoutCreate, &b.made, Real32F, p.n, p.k, p.pitchB);
    LT(MatrixLayoutCreate, &a.made, Real32F, p.k, m, p.pitchA);
    LT(MatrixLayoutCreate, &out.made, Real32F, p.n, m, p.pitchOut);
  }
  template <class T> void set(DescriptionAttribute attribute, const T &value) {
    LT(MatmulDescSetAttribute, description.made, attribute, &value, sizeof value);
  }
  Made description, a, b, out;
};

} // namespace

std::string productsReason() { return library().reason; }
std::string productsName() { return library().name; }

Products::~Products() {
  if (handle_) library().Destroy(handle_);
}

size_t Products::add(const Product &product, uint64_t likelyRows) {
  if (!library().reason.empty()) throw std::runtime_error(library().reason);
  std::lock_guard<std::mutex> lock(mutex_);
  if (!handle_) LT(Create, &handle_);
  products_.push_back(product);
  try {
    algorithm(products_.size() - 1, product, likelyRows);
  } catch (...) {
    products_.pop_back();
    throw;
  }
  return products_.size() - 1;
}

// The algorithm that cuBLASLt expects to be fastest. The mutex is held.
Products::Algorithm Products::algorithm(size_t index, const Product &product, uint64_t rows) {
  const auto key = std::make_pair(index, rows);
  const auto found = algorithms_.find(key);
  if (found != algorithms_.end()) return found->second;
  Call call(product, rows);
  Made preference(library().MatmulPreferenceDestroy);
  LT(MatmulPreferenceCreate, &preference.made);
  const auto prefer = [&](PreferenceAttribute attribute, auto value) {
    LT(MatmulPreferenceSetAttribute, preference.made, attribute, &value, sizeof value);
  };
  prefer(MaxWorkspaceBytes, (uint64_t)workspaceBytes);
  // Views begin on multiples of four elements.
  for (auto attribute : {MinAlignmentA, MinAlignmentB, MinAlignmentC, MinAlignmentD}) prefer(attribute, (uint32_t)16);
  Heuristic heuristic{};
  int count = 0;
  LT(MatmulAlgoGetHeuristic, handle_, call.description.made, call.b.made, call.a.made, call.out.made, call.out.made,
     preference.made, 1, &heuristic, &count);
  if (count == 0) throw std::runtime_error("cuBLASLt has no algorithm for this product");
  Algorithm algorithm;
  std::memcpy(algorithm.data, heuristic.algorithm.data, sizeof algorithm.data);
  return algorithms_[key] = algorithm;
}

void Products::multiply(size_t index, uint64_t m, uint64_t rows, const unsigned char *argument, size_t bytes,
                        CUdeviceptr workspace, CUstream stream) {
  Product product;
  lt::Algorithm algorithm;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    product = products_.at(index);
    std::memcpy(algorithm.data, this->algorithm(index, product, rows).data, sizeof algorithm.data);
  }
  const auto address = [&](const OperandWords &words) {
    uint64_t base = 0;
    uint32_t start = 0;
    if (4 * (size_t)words.address + 8 > bytes || 4 * (size_t)words.start + 4 > bytes)
      throw std::out_of_range("a command list multiplies what is not there");
    std::memcpy(&base, argument + 4 * words.address, 8);
    std::memcpy(&start, argument + 4 * words.start, 4);
    return (void *)(uintptr_t)(base + 4 * (uint64_t)start);
  };
  Call call(product, m);
  if (product.hasBias) call.set(BiasPointer, address(product.bias));
  const float one = 1.0f, zero = 0.0f;
  void *out = address(product.out);
  LT(Matmul, handle_, call.description.made, &one, address(product.b), call.b.made, address(product.a), call.a.made, &zero, out,
     call.out.made, out, call.out.made, &algorithm, (void *)workspace, workspaceBytes, stream);
}

} // namespace braid
