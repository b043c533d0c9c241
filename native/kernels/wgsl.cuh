// The parts of WGSL that Braid's kernels use, as CUDA C++: what runtime/backends/cuda/translate.ts turns a shader into
// compiles against this header. No other header is needed, so that NVRTC takes it as it is.
#pragma once

namespace wgsl {

typedef float f32;
typedef int i32;
typedef unsigned u32;

#define BRAID_DEVICE __device__ __forceinline__

// Vectors have the size and alignment of WGSL's, which are those of CUDA's built-in vectors.
template <class T> struct vec2;
template <class T> struct vec3;
template <class T> struct vec4;

#define BRAID_VECTOR_OPERATORS(V, EACH1, EACH2, EACHS, SEACH)                                        \
  BRAID_DEVICE friend V operator-(const V &a) { return EACH1(-); }                                   \
  BRAID_DEVICE friend V operator~(const V &a) { return EACH1(~); }                                   \
  BRAID_ARITHMETIC(V, +, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, -, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, *, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, /, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, %, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, &, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, |, EACH2, EACHS, SEACH)                                                        \
  BRAID_ARITHMETIC(V, ^, EACH2, EACHS, SEACH)

#define BRAID_ARITHMETIC(V, OP, EACH2, EACHS, SEACH)                                                 \
  BRAID_DEVICE friend V operator OP(const V &a, const V &b) { return V EACH2(OP); }                  \
  BRAID_DEVICE friend V operator OP(const V &a, T b) { return V EACHS(OP); }                         \
  BRAID_DEVICE friend V operator OP(T a, const V &b) { return V SEACH(OP); }                         \
  BRAID_DEVICE friend V &operator OP##=(V &a, const V &b) { return a = a OP b; }                     \
  BRAID_DEVICE friend V &operator OP##=(V &a, T b) { return a = a OP b; }

#define BRAID_COMPARISON(V, B, OP, EACH2)                                                            \
  BRAID_DEVICE friend B operator OP(const V &a, const V &b) { return B EACH2(OP); }

#define BRAID_COMPARISONS(V, B, EACH2)                                                               \
  BRAID_COMPARISON(V, B, ==, EACH2)                                                                  \
  BRAID_COMPARISON(V, B, !=, EACH2)                                                                  \
  BRAID_COMPARISON(V, B, <, EACH2)                                                                   \
  BRAID_COMPARISON(V, B, <=, EACH2)                                                                  \
  BRAID_COMPARISON(V, B, >, EACH2)                                                                   \
  BRAID_COMPARISON(V, B, >=, EACH2)

#define BRAID_2(OP) (a.x OP b.x, a.y OP b.y)
#define BRAID_2S(OP) (a.x OP b, a.y OP b)
#define BRAID_S2(OP) (a OP b.x, a OP b.y)
#define BRAID_U2(OP) vec2(OP a.x, OP a.y)

template <class T> struct alignas(2 * sizeof(T)) vec2 {
  T x, y;
  vec2() = default;
  BRAID_DEVICE vec2(T x, T y) : x(x), y(y) {}
  BRAID_DEVICE explicit vec2(T s) : x(s), y(s) {}
  template <class U> BRAID_DEVICE explicit vec2(const vec2<U> &v) : x(T(v.x)), y(T(v.y)) {}
  BRAID_DEVICE T &operator[](u32 i) { return (&x)[i]; }
  BRAID_DEVICE T operator[](u32 i) const { return (&x)[i]; }
  BRAID_DEVICE vec2 xy() const { return *this; }
  BRAID_DEVICE vec2 yx() const { return vec2(y, x); }
  BRAID_VECTOR_OPERATORS(vec2, BRAID_U2, BRAID_2, BRAID_2S, BRAID_S2)
  BRAID_COMPARISONS(vec2, vec2<bool>, BRAID_2)
  BRAID_DEVICE friend vec2 operator<<(const vec2 &a, const vec2<u32> &b) { return vec2 BRAID_2(<<); }
  BRAID_DEVICE friend vec2 operator>>(const vec2 &a, const vec2<u32> &b) { return vec2 BRAID_2(>>); }
};

// Only for the builtins of an entry point.
template <class T> struct vec3 {
  T x, y, z;
  vec3() = default;
  BRAID_DEVICE vec3(T x, T y, T z) : x(x), y(y), z(z) {}
  BRAID_DEVICE vec2<T> xy() const { return vec2<T>(x, y); }
};

#define BRAID_4(OP) (a.x OP b.x, a.y OP b.y, a.z OP b.z, a.w OP b.w)
#define BRAID_4S(OP) (a.x OP b, a.y OP b, a.z OP b, a.w OP b)
#define BRAID_S4(OP) (a OP b.x, a OP b.y, a OP b.z, a OP b.w)
#define BRAID_U4(OP) vec4(OP a.x, OP a.y, OP a.z, OP a.w)

template <class T> struct alignas(4 * sizeof(T)) vec4 {
  T x, y, z, w;
  vec4() = default;
  BRAID_DEVICE vec4(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
  BRAID_DEVICE vec4(const vec2<T> &a, const vec2<T> &b) : x(a.x), y(a.y), z(b.x), w(b.y) {}
  BRAID_DEVICE explicit vec4(T s) : x(s), y(s), z(s), w(s) {}
  template <class U> BRAID_DEVICE explicit vec4(const vec4<U> &v) : x(T(v.x)), y(T(v.y)), z(T(v.z)), w(T(v.w)) {}
  BRAID_DEVICE T &operator[](u32 i) { return (&x)[i]; }
  BRAID_DEVICE T operator[](u32 i) const { return (&x)[i]; }
  BRAID_DEVICE vec2<T> xy() const { return vec2<T>(x, y); }
  BRAID_DEVICE vec2<T> zw() const { return vec2<T>(z, w); }
  BRAID_DEVICE vec4 xyzw() const { return *this; }
  BRAID_VECTOR_OPERATORS(vec4, BRAID_U4, BRAID_4, BRAID_4S, BRAID_S4)
  BRAID_COMPARISONS(vec4, vec4<bool>, BRAID_4)
  BRAID_DEVICE friend vec4 operator<<(const vec4 &a, const vec4<u32> &b) { return vec4 BRAID_4(<<); }
  BRAID_DEVICE friend vec4 operator>>(const vec4 &a, const vec4<u32> &b) { return vec4 BRAID_4(>>); }
};

template <class T, u32 N> struct array {
  T items[N];
  array() = default;
  template <class... U> BRAID_DEVICE array(const T &first, const U &...rest) : items{first, rest...} {}
  BRAID_DEVICE T &operator[](u32 i) { return items[i]; }
  BRAID_DEVICE const T &operator[](u32 i) const { return items[i]; }
};

// A bound buffer. Indices past its end touch its last element instead, as WebGPU has it: kernels rely on that where they
// fetch ahead.
template <class T> struct Binding {
  T *data;
  u32 last;
  BRAID_DEVICE Binding(const void *data, unsigned long long bytes)
      : data((T *)data), last((u32)(bytes / sizeof(T)) - 1) {}
  BRAID_DEVICE T *at(u32 i) const { return data + (i < last ? i : last); }
};

BRAID_DEVICE f32 cached(const f32 *p) { return __ldg(p); }
BRAID_DEVICE i32 cached(const i32 *p) { return __ldg(p); }
BRAID_DEVICE u32 cached(const u32 *p) { return __ldg(p); }
BRAID_DEVICE vec2<u32> cached(const vec2<u32> *p) {
  uint2 v = __ldg((const uint2 *)p);
  return vec2<u32>(v.x, v.y);
}
BRAID_DEVICE vec4<u32> cached(const vec4<u32> *p) {
  uint4 v = __ldg((const uint4 *)p);
  return vec4<u32>(v.x, v.y, v.z, v.w);
}
BRAID_DEVICE vec4<f32> cached(const vec4<f32> *p) {
  float4 v = __ldg((const float4 *)p);
  return vec4<f32>(v.x, v.y, v.z, v.w);
}

// Nothing writes what a kernel binds for reading, so that loads may go through the read-only cache.
template <class T> struct Reading : Binding<T> {
  using Binding<T>::Binding;
  BRAID_DEVICE T operator[](u32 i) const { return cached(this->at(i)); }
};

template <class T> struct Writing : Binding<T> {
  using Binding<T>::Binding;
  BRAID_DEVICE T &operator[](u32 i) const { return *this->at(i); }
};

template <class T> BRAID_DEVICE u32 arrayLength(const Binding<T> *b) { return b->last + 1; }

template <class T, class U> BRAID_DEVICE T bitcast(const U &v) {
  static_assert(sizeof(T) == sizeof(U), "bitcast keeps the size");
  T out;
  memcpy(&out, &v, sizeof(T));
  return out;
}

template <class T> BRAID_DEVICE T select(T f, T t, bool c) { return c ? t : f; }
template <class T> BRAID_DEVICE vec2<T> select(vec2<T> f, vec2<T> t, vec2<bool> c) {
  return vec2<T>(c.x ? t.x : f.x, c.y ? t.y : f.y);
}
template <class T> BRAID_DEVICE vec4<T> select(vec4<T> f, vec4<T> t, vec4<bool> c) {
  return vec4<T>(c.x ? t.x : f.x, c.y ? t.y : f.y, c.z ? t.z : f.z, c.w ? t.w : f.w);
}

BRAID_DEVICE bool any(vec2<bool> v) { return v.x || v.y; }
BRAID_DEVICE bool any(vec4<bool> v) { return v.x || v.y || v.z || v.w; }
BRAID_DEVICE bool all(vec2<bool> v) { return v.x && v.y; }
BRAID_DEVICE bool all(vec4<bool> v) { return v.x && v.y && v.z && v.w; }

BRAID_DEVICE f32 min(f32 a, f32 b) { return ::fminf(a, b); }
BRAID_DEVICE f32 max(f32 a, f32 b) { return ::fmaxf(a, b); }
BRAID_DEVICE i32 min(i32 a, i32 b) { return a < b ? a : b; }
BRAID_DEVICE i32 max(i32 a, i32 b) { return a < b ? b : a; }
BRAID_DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
BRAID_DEVICE u32 max(u32 a, u32 b) { return a < b ? b : a; }
template <class T> BRAID_DEVICE T clamp(T v, T low, T high) { return min(max(v, low), high); }
BRAID_DEVICE f32 abs(f32 v) { return ::fabsf(v); }
BRAID_DEVICE i32 abs(i32 v) { return v < 0 ? -v : v; }
BRAID_DEVICE u32 abs(u32 v) { return v; }
BRAID_DEVICE f32 sign(f32 v) { return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f; }
BRAID_DEVICE i32 sign(i32 v) { return v > 0 ? 1 : v < 0 ? -1 : 0; }
BRAID_DEVICE f32 fma(f32 a, f32 b, f32 c) { return ::fmaf(a, b, c); }
BRAID_DEVICE f32 exp(f32 v) { return ::expf(v); }
BRAID_DEVICE f32 exp2(f32 v) { return ::exp2f(v); }
BRAID_DEVICE f32 log(f32 v) { return ::logf(v); }
BRAID_DEVICE f32 log2(f32 v) { return ::log2f(v); }
BRAID_DEVICE f32 pow(f32 a, f32 b) { return ::powf(a, b); }
BRAID_DEVICE f32 sqrt(f32 v) { return ::sqrtf(v); }
BRAID_DEVICE f32 inverseSqrt(f32 v) { return 1.0f / ::sqrtf(v); }
BRAID_DEVICE f32 floor(f32 v) { return ::floorf(v); }
BRAID_DEVICE f32 ceil(f32 v) { return ::ceilf(v); }
BRAID_DEVICE f32 trunc(f32 v) { return ::truncf(v); }
BRAID_DEVICE f32 round(f32 v) { return ::rintf(v); }
BRAID_DEVICE f32 fract(f32 v) { return v - ::floorf(v); }
BRAID_DEVICE f32 sin(f32 v) { return ::sinf(v); }
BRAID_DEVICE f32 cos(f32 v) { return ::cosf(v); }
BRAID_DEVICE f32 tan(f32 v) { return ::tanf(v); }
BRAID_DEVICE f32 asin(f32 v) { return ::asinf(v); }
BRAID_DEVICE f32 acos(f32 v) { return ::acosf(v); }
BRAID_DEVICE f32 atan(f32 v) { return ::atanf(v); }
BRAID_DEVICE f32 atan2(f32 a, f32 b) { return ::atan2f(a, b); }
BRAID_DEVICE f32 sinh(f32 v) { return ::sinhf(v); }
BRAID_DEVICE f32 cosh(f32 v) { return ::coshf(v); }
BRAID_DEVICE f32 tanh(f32 v) { return ::tanhf(v); }
BRAID_DEVICE f32 asinh(f32 v) { return ::asinhf(v); }
BRAID_DEVICE f32 acosh(f32 v) { return ::acoshf(v); }
BRAID_DEVICE f32 atanh(f32 v) { return ::atanhf(v); }
BRAID_DEVICE u32 countLeadingZeros(u32 v) { return (u32)__clz((int)v); }
BRAID_DEVICE u32 countOneBits(u32 v) { return (u32)__popc(v); }
BRAID_DEVICE i32 countOneBits(i32 v) { return __popc((u32)v); }

BRAID_DEVICE vec4<f32> fma(const vec4<f32> &a, const vec4<f32> &b, const vec4<f32> &c) {
  return vec4<f32>(fma(a.x, b.x, c.x), fma(a.y, b.y, c.y), fma(a.z, b.z, c.z), fma(a.w, b.w, c.w));
}
BRAID_DEVICE vec4<f32> min(const vec4<f32> &a, const vec4<f32> &b) {
  return vec4<f32>(min(a.x, b.x), min(a.y, b.y), min(a.z, b.z), min(a.w, b.w));
}
BRAID_DEVICE vec4<f32> max(const vec4<f32> &a, const vec4<f32> &b) {
  return vec4<f32>(max(a.x, b.x), max(a.y, b.y), max(a.z, b.z), max(a.w, b.w));
}
#define BRAID_EACH(name)                                                                             \
  BRAID_DEVICE vec4<f32> name(const vec4<f32> &v) { return vec4<f32>(name(v.x), name(v.y), name(v.z), name(v.w)); } \
  BRAID_DEVICE vec2<f32> name(const vec2<f32> &v) { return vec2<f32>(name(v.x), name(v.y)); }
BRAID_EACH(abs)
BRAID_EACH(exp)
BRAID_EACH(exp2)
BRAID_EACH(log)
BRAID_EACH(log2)
BRAID_EACH(sqrt)
BRAID_EACH(inverseSqrt)
BRAID_EACH(tanh)
BRAID_EACH(floor)
BRAID_EACH(ceil)
BRAID_EACH(trunc)
BRAID_EACH(round)
#undef BRAID_EACH

BRAID_DEVICE f32 dot(const vec4<f32> &a, const vec4<f32> &b) {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, a.x * b.x)));
}
BRAID_DEVICE f32 dot(const vec2<f32> &a, const vec2<f32> &b) { return fma(a.y, b.y, a.x * b.x); }

BRAID_DEVICE vec2<f32> unpack2x16float(u32 word) {
  vec2<f32> out;
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(out.x), "=f"(out.y) : "r"(word));
  return out;
}

BRAID_DEVICE u32 atomicLoad(u32 *p) { return *(volatile u32 *)p; }
BRAID_DEVICE void atomicStore(u32 *p, u32 v) { *(volatile u32 *)p = v; }

BRAID_DEVICE void workgroupBarrier() { __syncthreads(); }

} // namespace wgsl
