// What the addon exports: probe(), compile(), Device.
#include <napi.h>

#include "compiler.h"
#include "cublaslt.h"
#include "device.h"
#include "driver.h"

namespace braid {

// probe(): what CUDA has here, or why it has nothing. Never throws for what is missing.
static Napi::Value probe(const Napi::CallbackInfo &info) {
  Napi::Env env = info.Env();
  auto out = Napi::Object::New(env);
  auto devices = Napi::Array::New(env);
  out["devices"] = devices;
  out["compiler"] = Napi::String::New(env, compilerName());
  out["compilerReason"] = Napi::String::New(env, compilerReason());
  out["products"] = Napi::String::New(env, productsName());
  out["productsReason"] = Napi::String::New(env, productsReason());
  const Driver &d = driver();
  out["driverReason"] = Napi::String::New(env, d.reason);
  out["driverVersion"] = Napi::String::New(env, "");
  if (!d.reason.empty()) return out;
  try {
    int version = 0;
    CU(cuDriverGetVersion, &version);
    out["driverVersion"] =
        Napi::String::New(env, std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10));
    int count = 0;
    CU(cuDeviceGetCount, &count);
    for (int i = 0; i < count; i++) {
      CUdevice device = 0;
      CU(cuDeviceGet, &device, i);
      char name[256] = "";
      CU(cuDeviceGetName, name, sizeof name, device);
      size_t bytes = 0;
      CU(cuDeviceTotalMem, &bytes, device);
      int major = 0, minor = 0;
      CU(cuDeviceGetAttribute, &major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
      CU(cuDeviceGetAttribute, &minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
      auto entry = Napi::Object::New(env);
      entry["name"] = Napi::String::New(env, name);
      entry["bytes"] = Napi::Number::New(env, (double)bytes);
      entry["architecture"] = Napi::Number::New(env, 10 * major + minor);
      devices[(uint32_t)i] = entry;
    }
  } catch (const CudaError &error) {
    out["driverReason"] = Napi::String::New(env, error.what());
  }
  return out;
}

// Compiles on a thread of libuv's pool.
class CompileWorker : public Napi::AsyncWorker {
public:
  CompileWorker(Napi::Env env, std::string source, std::vector<Header> headers, int architecture,
                std::vector<std::string> options)
      : Napi::AsyncWorker(env), promise(Napi::Promise::Deferred::New(env)), source_(std::move(source)),
        headers_(std::move(headers)), architecture_(architecture), options_(std::move(options)) {}

  void Execute() override {
    try {
      cubin_ = compile(source_, headers_, architecture_, options_);
    } catch (const std::exception &error) {
      SetError(error.what());
    }
  }
  void OnOK() override {
    auto out = Napi::Uint8Array::New(Env(), cubin_.size());
    std::copy(cubin_.begin(), cubin_.end(), (char *)out.Data());
    promise.Resolve(out);
  }
  void OnError(const Napi::Error &error) override { promise.Reject(error.Value()); }

  Napi::Promise::Deferred promise;

private:
  std::string source_;
  std::vector<Header> headers_;
  int architecture_;
  std::vector<std::string> options_;
  std::vector<char> cubin_;
};

// compile(source, headers: [name, text][], architecture, options: string[]): Promise<Uint8Array>, a cubin.
static Napi::Value compileSource(const Napi::CallbackInfo &info) {
  std::vector<Header> headers;
  auto given = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < given.Length(); i++) {
    auto pair = Napi::Value(given[i]).As<Napi::Array>();
    headers.push_back({Napi::Value(pair[0u]).As<Napi::String>(), Napi::Value(pair[1u]).As<Napi::String>()});
  }
  std::vector<std::string> options;
  auto flags = info[3].As<Napi::Array>();
  for (uint32_t i = 0; i < flags.Length(); i++) options.push_back(Napi::Value(flags[i]).As<Napi::String>());
  auto *worker = new CompileWorker(info.Env(), info[0].As<Napi::String>(), std::move(headers),
                                   info[2].As<Napi::Number>().Int32Value(), std::move(options));
  auto promise = worker->promise.Promise();
  worker->Queue();
  return promise;
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports["probe"] = Napi::Function::New(env, probe, "probe");
  exports["compile"] = Napi::Function::New(env, compileSource, "compile");
  exports["Device"] = Device::define(env);
  return exports;
}

NODE_API_MODULE(braid_cuda, init)

} // namespace braid
