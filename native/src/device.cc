#include "device.h"

#include <algorithm>
#include <cstring>

#include "guarded_copy.h"
#include "pause.h"

namespace braid {

using Napi::CallbackInfo;
using Napi::Number;
using Napi::Value;

static CUdeviceptr address(const Value &value) { return (CUdeviceptr)value.As<Number>().DoubleValue(); }

static size_t elementBytes(napi_typedarray_type type) {
  switch (type) {
  case napi_int8_array:
  case napi_uint8_array:
  case napi_uint8_clamped_array:
    return 1;
  case napi_int16_array:
  case napi_uint16_array:
    return 2;
  case napi_float64_array:
  case napi_bigint64_array:
  case napi_biguint64_array:
    return 8;
  default:
    return 4;
  }
}

// Errors of CUDA as errors of JavaScript.
#define BRAID_TRY(env, ...)                                                                          \
  try {                                                                                              \
    __VA_ARGS__                                                                                      \
  } catch (const CudaError &error) {                                                                 \
    throw Napi::Error::New(env, error.what());                                                       \
  }

Napi::Function Device::define(Napi::Env env) {
  return DefineClass(env, "Device",
                     {
                         InstanceMethod<&Device::limits>("limits"),
                         InstanceMethod<&Device::alloc>("alloc"),
                         InstanceMethod<&Device::free>("free"),
                         InstanceMethod<&Device::clear>("clear"),
                         InstanceMethod<&Device::upload>("upload"),
                         InstanceMethod<&Device::pin>("pin"),
                         InstanceMethod<&Device::unpin>("unpin"),
                         InstanceMethod<&Device::adopt>("adopt"),
                         InstanceMethod<&Device::disown>("disown"),
                         InstanceMethod<&Device::loadKernel>("loadKernel"),
                         InstanceMethod<&Device::loadProduct>("loadProduct"),
                         InstanceMethod<&Device::submit>("submit"),
                         InstanceMethod<&Device::clock>("clock"),
                         InstanceMethod<&Device::close>("close"),
                     });
}

// Threads that copy inputs and call CUDA. A core copies some 10 GB/s, a fifth of what the bus takes, so that one thread would
// hold up waves of many ids; which lane a wave is on does not matter to them.
static constexpr size_t kSubmitters = 4;
// With nothing else in flight a wave of so few bytes is submitted at once: handing it over takes longer.
static constexpr size_t kFewBytes = 1 << 19;
// More than this is copied by several threads, in pieces of at most so many bytes.
static constexpr size_t kManyBytes = 1 << 19;
static constexpr size_t kPieceBytes = 1 << 17;

// new Device(ordinal, lanes, ended: (lane, point, reason, fault) => void)
Device::Device(const CallbackInfo &info) : Napi::ObjectWrap<Device>(info) {
  Napi::Env env = info.Env();
  if (!driver().reason.empty()) throw Napi::Error::New(env, driver().reason);
  BRAID_TRY(env, {
    CU(cuDeviceGet, &device_, info[0].As<Number>().Int32Value());
    check(driver().createContext(&context_, CU_CTX_SCHED_AUTO, device_), "cuCtxCreate");
    lanes_.resize(info[1].As<Number>().Uint32Value());
    void *flags = nullptr;
    CU(cuMemHostAlloc, &flags, lanes_.size() * 64, CU_MEMHOSTALLOC_DEVICEMAP);
    std::memset(flags, 0, lanes_.size() * 64);
    flags_ = (volatile uint32_t *)flags;
    CU(cuMemHostGetDevicePointer, &deviceFlags_, flags, 0);
    for (auto &lane : lanes_) {
      CU(cuStreamCreate, &lane.stream, CU_STREAM_NON_BLOCKING);
      CU(cuEventCreate, &lane.done, CU_EVENT_DISABLE_TIMING);
    }
  });
  ended_ = Napi::ThreadSafeFunction::New(env, info[2].As<Napi::Function>(), "braid cuda", 0, 1);
  // What is in flight keeps the process alive; an idle device does not.
  ended_.Unref(env);
  guardCopies();
  watcher_ = std::make_unique<Watcher>(context_, [this](int lane, uint32_t point, const std::string &reason, int fault) {
    report(lane, point, reason, fault);
  });
  CUcontext context = context_;
  submitters_ = std::make_unique<Workers>(kSubmitters, [context] { driver().p_cuCtxSetCurrent(context); });
}

// Tells JavaScript that a submission is over, from any thread. `fault` is the source that could not be read, or -1.
void Device::report(int lane, uint32_t point, const std::string &reason, int fault) {
  ended_.BlockingCall([this, lane, point, reason, fault](Napi::Env env, Napi::Function call) {
    if (--inFlight_ == 0) ended_.Unref(env);
    call.Call({Number::New(env, lane), Number::New(env, point), Napi::String::New(env, reason), Number::New(env, fault)});
  });
}

Device::~Device() { destroy(); }

void Device::destroy() {
  if (!watcher_) return;
  submitters_->finish();
  watcher_.reset();
  ended_.Release();
  // What fails here fails because the context is lost; destroying it frees all that it owned.
  const Driver &d = driver();
  d.p_cuCtxSetCurrent(context_);
  d.p_cuCtxSynchronize();
  for (auto &[key, data] : pinned_) d.p_cuMemFreeHost(data);
  pinned_.clear();
  for (auto &[key, memory] : adopted_) d.p_cuMemHostUnregister((void *)(uintptr_t)key);
  adopted_.clear();
  d.p_cuMemFreeHost((void *)flags_);
  products_.reset();
  lanes_.clear();
  d.p_cuCtxDestroy(context_);
  context_ = nullptr;
}

void Device::enter(Napi::Env env) const {
  if (!context_) throw Napi::Error::New(env, "the device is closed");
  BRAID_TRY(env, { CU(cuCtxSetCurrent, context_); });
}

Value Device::limits(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    CU(cuDeviceGetAttribute, &value, which, device_);
    return Number::New(env, value);
  };
  auto out = Napi::Object::New(env);
  BRAID_TRY(env, {
    size_t free = 0;
    size_t total = 0;
    CU(cuMemGetInfo, &free, &total);
    out["freeBytes"] = Number::New(env, (double)free);
    out["totalBytes"] = Number::New(env, (double)total);
    out["major"] = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
    out["minor"] = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    out["multiprocessors"] = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    out["sharedBytes"] = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
    out["sharedBytesOptIn"] = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
    out["threadsPerBlock"] = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  });
  return out;
}

// alloc(bytes): the address, as a number: those of devices have at most 49 bits.
Value Device::alloc(const CallbackInfo &info) {
  enter(info.Env());
  CUdeviceptr data = 0;
  BRAID_TRY(info.Env(), { CU(cuMemAlloc, &data, (size_t)info[0].As<Number>().DoubleValue()); });
  return Number::New(info.Env(), (double)data);
}

void Device::free(const CallbackInfo &info) {
  enter(info.Env());
  BRAID_TRY(info.Env(), { CU(cuMemFree, address(info[0])); });
}

// clear(address, bytes)
void Device::clear(const CallbackInfo &info) {
  enter(info.Env());
  BRAID_TRY(info.Env(), { CU(cuMemsetD8, address(info[0]), 0, (size_t)info[1].As<Number>().DoubleValue()); });
}

// upload(address, bytes: Uint8Array): returns once the bytes are on the device.
void Device::upload(const CallbackInfo &info) {
  enter(info.Env());
  auto bytes = info[1].As<Napi::Uint8Array>();
  if (bytes.ByteLength() == 0) return;
  BRAID_TRY(info.Env(), { CU(cuMemcpyHtoD, address(info[0]), bytes.Data(), bytes.ByteLength()); });
}

// pin(bytes): { buffer, address } of host memory that the device reads and writes by itself.
Value Device::pin(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  size_t bytes = (size_t)info[0].As<Number>().DoubleValue();
  void *data = nullptr;
  BRAID_TRY(env, { CU(cuMemHostAlloc, &data, bytes, CU_MEMHOSTALLOC_PORTABLE); });
  double key = (double)(uintptr_t)data;
  pinned_[key] = data;
  auto out = Napi::Object::New(env);
  out["buffer"] = Napi::ArrayBuffer::New(env, data, bytes);
  out["address"] = Number::New(env, key);
  return out;
}

// unpin(address, buffer): the buffer is empty from then on.
void Device::unpin(const CallbackInfo &info) {
  enter(info.Env());
  double key = info[0].As<Number>().DoubleValue();
  auto found = pinned_.find(key);
  if (found == pinned_.end()) throw Napi::Error::New(info.Env(), "this memory is not pinned");
  info[1].As<Napi::ArrayBuffer>().Detach();
  BRAID_TRY(info.Env(), { CU(cuMemFreeHost, found->second); });
  pinned_.erase(found);
}

static constexpr uintptr_t kPage = 4096;

// adopt(memory: Uint8Array): { address, offset, bytes } of the pages that lie in it as a whole, which the device reads by
// itself from then on; pages that other memory shares are never taken. What is adopted is held until it is disowned.
Value Device::adopt(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  auto memory = info[0].As<Napi::Uint8Array>();
  const auto begin = (uintptr_t)memory.Data();
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const uintptr_t end = (begin + memory.ByteLength()) / kPage * kPage;
  if (end <= first) throw Napi::RangeError::New(env, "no page lies in this memory as a whole");
  BRAID_TRY(env, { CU(cuMemHostRegister, (void *)first, end - first, CU_MEMHOSTREGISTER_PORTABLE); });
  adopted_[(double)first] = Napi::Persistent(info[0].As<Napi::Object>());
  auto out = Napi::Object::New(env);
  out["address"] = Number::New(env, (double)first);
  out["offset"] = Number::New(env, (double)(first - begin));
  out["bytes"] = Number::New(env, (double)(end - first));
  return out;
}

// disown(address): of what was adopted. Nothing that reads it may be under way.
void Device::disown(const CallbackInfo &info) {
  enter(info.Env());
  auto found = adopted_.find(info[0].As<Number>().DoubleValue());
  if (found == adopted_.end()) throw Napi::Error::New(info.Env(), "this memory is not adopted");
  BRAID_TRY(info.Env(), { CU(cuMemHostUnregister, (void *)(uintptr_t)found->first); });
  adopted_.erase(found);
}

// loadKernel(cubin: Uint8Array, name, sharedBytes): its number.
Value Device::loadKernel(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  auto image = info[0].As<Napi::Uint8Array>();
  std::string name = info[1].As<Napi::String>();
  int shared = info[2].As<Number>().Int32Value();
  BRAID_TRY(env, {
    CUmodule module = nullptr;
    CU(cuModuleLoadData, &module, image.Data());
    modules_.push_back(module);
    CUfunction kernel = nullptr;
    CU(cuModuleGetFunction, &kernel, module, name.c_str());
    if (shared > 48 * 1024)
      CU(cuFuncSetAttribute, kernel, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared);
    std::lock_guard<std::mutex> lock(kernelsMutex_);
    kernels_.push_back(kernel);
  });
  return Number::New(env, (double)(kernels_.size() - 1));
}

CUfunction Device::kernel(size_t index) {
  std::lock_guard<std::mutex> lock(kernelsMutex_);
  return kernels_.at(index);
}

// loadProduct(product, likelyRows): its number. Throws where cuBLASLt is missing or takes no such product.
Value Device::loadProduct(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  const auto given = info[0].As<Napi::Object>();
  const auto flag = [&](const char *name) { return given.Get(name).As<Napi::Boolean>().Value(); };
  const auto number = [&](const char *name) { return given.Get(name).As<Number>().Int64Value(); };
  const auto words = [&](const char *name) {
    const auto pair = given.Get(name).As<Napi::Array>();
    return OperandWords{pair.Get(0u).As<Number>().Uint32Value(), pair.Get(1u).As<Number>().Uint32Value()};
  };
  Product product{flag("tf32"),     flag("turned"),   flag("hasBias"),    flag("relu"), number("n"),
                  number("k"),      number("aPitch"), number("bPitch"),   number("outPitch"), words("a"),
                  words("b"),       {},               words("out")};
  if (product.hasBias) product.bias = words("bias");
  try {
    if (!products_) products_ = std::make_unique<Products>();
    for (auto &lane : lanes_)
      if (!lane.workspace) CU(cuMemAlloc, &lane.workspace, Products::workspaceBytes);
    return Number::New(env, (double)products_->add(product, (uint64_t)info[1].As<Number>().Int64Value()));
  } catch (const std::exception &error) {
    throw Napi::Error::New(env, error.what());
  }
}

// Numbers of a command and of what follows it.
static size_t lengthOf(double op) {
  switch ((Op)(int)op) {
  case Op::Launch:
    return 8;
  case Op::Clock:
    return 2;
  case Op::Wait:
    return 3;
  case Op::Product:
    return 6;
  default:
    return 4;
  }
}

static size_t piecesOf(size_t bytes) { return (bytes + kPieceBytes - 1) / kPieceBytes; }

bool Pieces::copyOne() {
  const size_t index = next++;
  if (index >= list.size()) return false;
  const Piece &piece = list[index];
  if (!piece.from || !guardedCopy(piece.to, piece.from, piece.bytes)) {
    std::memset(piece.to, 0, piece.bytes);
    int none = -1;
    fault.compare_exchange_strong(none, piece.source);
  }
  done[index] = true;
  return true;
}

void Pieces::await(size_t count) {
  for (size_t first = 0; first < count;) {
    if (done[first]) first++;
    else if (!copyOne()) pauseBriefly();
  }
}

// The copies of a submission in pieces, with other threads asked to help; null where it is not worth their while.
std::shared_ptr<Pieces> Device::share(const Submission &submission) {
  size_t all = 0;
  for (const Source &source : submission.sources) all += source.bytes;
  if (all < kManyBytes) return nullptr;
  auto pieces = std::make_shared<Pieces>();
  const auto &commands = submission.commands;
  for (size_t at = 0; at < commands.size(); at += lengthOf(commands[at])) {
    if ((Op)(int)commands[at] != Op::Copy) continue;
    char *to = (char *)(uintptr_t)commands[at + 1];
    const int index = (int)commands[at + 2];
    const Source &source = submission.sources.at(index);
    const size_t bytes = (size_t)commands[at + 3];
    const char *from = bytes <= source.bytes ? (const char *)source.data : nullptr;
    for (size_t i = 0; i < bytes; i += kPieceBytes)
      pieces->list.push_back({to + i, from ? from + i : nullptr, std::min(kPieceBytes, bytes - i), index});
  }
  pieces->done = std::vector<std::atomic<bool>>(pieces->list.size());
  for (size_t i = 1; i < kSubmitters; i++)
    submitters_->give([pieces] {
      while (pieces->copyOne()) {
      }
    });
  return pieces;
}

// Where the launches begin behind which a list has nothing but launches and downloads: what a graph may hold. A list with
// moments of the clock is no such.
static size_t launchesOf(const std::vector<double> &commands) {
  size_t begin = 0;
  for (size_t at = 0; at < commands.size(); at += lengthOf(commands[at])) {
    const auto op = (Op)(int)commands[at];
    if (op == Op::Clock) return commands.size();
    if (op != Op::Launch && op != Op::Product && op != Op::Download) begin = at + lengthOf(commands[at]);
  }
  return std::min(begin, commands.size());
}

// Carries out a submission. Returns the source that could not be read, or -1.
int Device::run(Lane &lane, Pieces *pieces) {
  const auto &[commands, arguments, sources] = lane.submission;
  const size_t launches = launchesOf(commands);
  Copied copied;
  run(lane, 0, launches, pieces, copied);
  if (launches < commands.size())
    lane.replays.run(lane.stream, commands.data() + launches, commands.size() - launches, arguments,
                     [&] { run(lane, launches, commands.size(), pieces, copied); });
  if (!pieces) return copied.fault;
  pieces->await(pieces->list.size());
  return pieces->fault;
}

// Carries out a stretch of a lane's commands.
void Device::run(Lane &lane, size_t from, size_t to, Pieces *pieces, Copied &copied) {
  const auto pointer = [](double value) { return (CUdeviceptr)value; };
  const auto host = [](double value) { return (void *)(uintptr_t)value; };
  auto &[commands, arguments, sources] = lane.submission;
  for (size_t at = from; at < to;) {
    const double *c = commands.data() + at;
    switch ((Op)(int)c[0]) {
    case Op::Launch: {
      // kernel, grid x, grid z, threads, shared bytes, offset and size of the argument
      size_t offset = (size_t)c[6], size = (size_t)c[7];
      if (offset + size > arguments.size()) throw std::out_of_range("a command list launches with what is not there");
      void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, arguments.data() + offset, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                       CU_LAUNCH_PARAM_END};
      CU(cuLaunchKernel, kernel((size_t)c[1]), (unsigned)c[2], 1, (unsigned)c[3], (unsigned)c[4], 1, 1,
         (unsigned)c[5], lane.stream, nullptr, extra);
      at += 8;
      break;
    }
    case Op::Upload:
      // What was to be copied before has to be there.
      if (pieces) pieces->await(copied.pieces);
      CU(cuMemcpyHtoDAsync, pointer(c[1]), host(c[2]), (size_t)c[3], lane.stream);
      at += 4;
      break;
    case Op::Download:
      CU(cuMemcpyDtoHAsync, host(c[1]), pointer(c[2]), (size_t)c[3], lane.stream);
      at += 4;
      break;
    case Op::Wait: {
      // lane, point: the event is that of the point, or of a later one, once its commands are with the stream
      const Lane &other = lanes_.at((size_t)c[1]);
      while ((int32_t)(other.given - (uint32_t)c[2]) < 0) pauseBriefly();
      CU(cuStreamWaitEvent, lane.stream, other.done, 0);
      at += 3;
      break;
    }
    case Op::Clock: {
      size_t index = (size_t)c[1];
      while (lane.clock.size() <= index) {
        CUevent event = nullptr;
        CU(cuEventCreate, &event, CU_EVENT_DEFAULT);
        lane.clock.push_back(event);
      }
      CU(cuEventRecord, lane.clock[index], lane.stream);
      at += 2;
      break;
    }
    case Op::Copy: {
      // host, source, bytes
      const Source &source = sources.at((size_t)c[2]);
      const size_t bytes = (size_t)c[3];
      if (pieces) {
        copied.pieces += piecesOf(bytes);
        at += 4;
        break;
      }
      if (bytes > source.bytes || !guardedCopy(host(c[1]), source.data, bytes)) {
        std::memset(host(c[1]), 0, bytes);
        if (copied.fault < 0) copied.fault = (int)c[2];
      }
      at += 4;
      break;
    }
    case Op::Fill: {
      // host, word, count
      auto *words = (uint32_t *)host(c[1]);
      std::fill(words, words + (size_t)c[3], (uint32_t)c[2]);
      at += 4;
      break;
    }
    case Op::Product: {
      // product, rows, rows that its algorithm is for, offset and size of the argument
      const size_t offset = (size_t)c[4], size = (size_t)c[5];
      if (!products_ || offset + size > arguments.size())
        throw std::out_of_range("a command list multiplies what is not there");
      products_->multiply((size_t)c[1], (uint64_t)c[2], (uint64_t)c[3], arguments.data() + offset, size, lane.workspace,
                          lane.stream);
      at += 6;
      break;
    }
    default:
      throw std::out_of_range("a command list has an unknown command");
    }
  }
}

// Gives a lane's stream its commands, and tells JavaScript where that fails. `alone`: nothing else is in flight, and there is
// little to copy, so that nobody need help.
void Device::carryOut(size_t index, uint32_t point, bool alone) {
  Lane &lane = lanes_[index];
  std::shared_ptr<Pieces> pieces;
  try {
    if (!alone) pieces = share(lane.submission);
    const int fault = run(lane, pieces.get());
    CU(cuEventRecord, lane.done, lane.stream);
    CU(cuStreamWriteValue32, lane.stream, deviceFlags_ + index * 64, point, CU_STREAM_WRITE_VALUE_DEFAULT);
    lane.given = point;
    watcher_->await({(int)index, point, fault, flags_ + index * 16, lane.stream});
  } catch (const std::exception &error) {
    lane.given = point;
    // Nobody may read the sources from now on.
    if (pieces) pieces->await(pieces->list.size());
    report((int)index, point, error.what(), -1);
  }
}

// submit(lane, commands: Float64Array, count, arguments: Uint32Array, sources: TypedArray[]): the point that the lane reaches
// behind it. `ended` is told what becomes of it. The sources may not be written or given away until then.
Value Device::submit(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  const size_t index = info[0].As<Number>().Uint32Value();
  if (index >= lanes_.size()) throw Napi::Error::New(env, "there is no such lane");
  Lane &lane = lanes_[index];
  if (lane.given != lane.point) throw Napi::Error::New(env, "the lane has a submission under way");
  const auto commands = info[1].As<Napi::Float64Array>();
  const auto arguments = info[3].As<Napi::Uint32Array>();
  const auto given = info[4].As<Napi::Array>();
  auto &submission = lane.submission;
  submission.commands.assign(commands.Data(), commands.Data() + info[2].As<Number>().Uint32Value());
  const auto *words = (const unsigned char *)arguments.Data();
  submission.arguments.assign(words, words + arguments.ByteLength());
  submission.sources.clear();
  size_t copied = 0;
  for (uint32_t i = 0, count = given.Length(); i < count; i++) {
    napi_value source;
    napi_typedarray_type type;
    size_t length = 0;
    void *data = nullptr;
    if (napi_get_element(env, given, i, &source) != napi_ok ||
        napi_get_typedarray_info(env, source, &type, &length, &data, nullptr, nullptr) != napi_ok)
      throw Napi::TypeError::New(env, "a source is no typed array");
    const size_t bytes = length * elementBytes(type);
    submission.sources.push_back({data, bytes});
    copied += bytes;
  }
  const uint32_t point = ++lane.point;
  if (inFlight_++ == 0) ended_.Ref(env);
  if (inFlight_ == 1 && copied <= kFewBytes) carryOut(index, point, true);
  else submitters_->give([this, index, point] { carryOut(index, point, false); });
  return Number::New(env, point);
}

// clock(lane, intervals): microseconds between neighbours of the moments that the lane's last submission recorded.
Value Device::clock(const CallbackInfo &info) {
  Napi::Env env = info.Env();
  enter(env);
  Lane &lane = lanes_.at(info[0].As<Number>().Uint32Value());
  size_t intervals = info[1].As<Number>().Uint32Value();
  auto out = Napi::Float64Array::New(env, intervals);
  BRAID_TRY(env, {
    for (size_t i = 0; i < intervals; i++) {
      float ms = 0;
      CU(cuEventElapsedTime, &ms, lane.clock.at(i), lane.clock.at(i + 1));
      out[i] = 1000.0 * ms;
    }
  });
  return out;
}

void Device::close(const CallbackInfo &) { destroy(); }

} // namespace braid
