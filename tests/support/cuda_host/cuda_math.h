// Arithmetic that CUDA provides in addition to the C library, for cuda_host.h.
#pragma once

#include <math.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace cuda_host {
template <class T>
T wrapping_add(T a, T b) {  // Integer overflow wraps around on a GPU
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(static_cast<std::make_unsigned_t<T>>(a) + static_cast<std::make_unsigned_t<T>>(b));
  else
    return a + b;
}
}  // namespace cuda_host

template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  // fmin returns the other value if one is NaN.
  if constexpr (std::is_floating_point_v<T>) return std::fmin(static_cast<T>(a), static_cast<T>(b));
  else return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<T>) return std::fmax(static_cast<T>(a), static_cast<T>(b));
  else return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __saturatef(float x) { return max(0.0f, min(1.0f, x)); }

// Each operation is rounded once, and never fused to a multiply-add
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __drcp_rn(double a) { return 1.0 / a; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }

namespace cuda_host {
template <class To, class From>
To convert(From rounded) {  // A value out of range becomes the nearest value in range
  constexpr bool wide = sizeof(To) == 8 || sizeof(From) == 8;
  if (std::isnan(rounded)) return wide ? static_cast<To>(uint64_t{1} << (8 * sizeof(To) - 1)) : To{0};
  if (rounded <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (rounded >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(rounded);
}
template <class To, class From>
To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
}  // namespace cuda_host

#define CUDA_HOST_CONVERSIONS(from, from_name, to, to_name)                                                    \
  inline to __##from_name##2##to_name##_rn(from x) { return cuda_host::convert<to>(std::nearbyint(x)); }       \
  inline to __##from_name##2##to_name##_rz(from x) { return cuda_host::convert<to>(std::trunc(x)); }           \
  inline to __##from_name##2##to_name##_rd(from x) { return cuda_host::convert<to>(std::floor(x)); }           \
  inline to __##from_name##2##to_name##_ru(from x) { return cuda_host::convert<to>(std::ceil(x)); }            \
  inline from __##to_name##2##from_name##_rn(to x) { return static_cast<from>(x); }

CUDA_HOST_CONVERSIONS(float, float, int, int)
CUDA_HOST_CONVERSIONS(float, float, unsigned int, uint)
CUDA_HOST_CONVERSIONS(float, float, long long, ll)
CUDA_HOST_CONVERSIONS(float, float, unsigned long long, ull)
CUDA_HOST_CONVERSIONS(double, double, int, int)
CUDA_HOST_CONVERSIONS(double, double, unsigned int, uint)
CUDA_HOST_CONVERSIONS(double, double, long long, ll)
CUDA_HOST_CONVERSIONS(double, double, unsigned long long, ull)
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __float_as_int(float x) { return cuda_host::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return cuda_host::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return cuda_host::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return cuda_host::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return cuda_host::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return cuda_host::bit_cast<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

// The upper (left) or lower (right) half of high:low, shifted
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}
inline unsigned __funnelshift_lc(unsigned low, unsigned high, unsigned shift) {
  return shift < 32 ? __funnelshift_l(low, high, shift) : low;
}
inline unsigned __funnelshift_rc(unsigned low, unsigned high, unsigned shift) {
  return shift < 32 ? __funnelshift_r(low, high, shift) : high;
}

// Byte i of the result is a byte of b:a. Its number is in bits 4i to 4i+2 of the selector.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned chosen = selector >> 4 * i & 7;
    result |= static_cast<unsigned>(bytes >> 8 * chosen & 0xFF) << 8 * i;
  }
  return result;
}

inline unsigned __usad(unsigned a, unsigned b, unsigned sum) { return (a > b ? a - b : b - a) + sum; }
inline unsigned __sad(int a, int b, unsigned sum) {
  const unsigned difference = static_cast<unsigned>(a) - static_cast<unsigned>(b);
  return (a > b ? difference : 0 - difference) + sum;
}
inline unsigned __vabsdiffu4(unsigned a, unsigned b) {
  unsigned result = 0;
  for (int shift = 0; shift < 32; shift += 8) result |= __usad(a >> shift & 0xFF, b >> shift & 0xFF, 0) << shift;
  return result;
}
inline unsigned __vsadu4(unsigned a, unsigned b) {
  unsigned sum = 0;
  for (int shift = 0; shift < 32; shift += 8) sum = __usad(a >> shift & 0xFF, b >> shift & 0xFF, sum);
  return sum;
}

inline unsigned __dp4a(unsigned a, unsigned b, unsigned sum) {
  for (int shift = 0; shift < 32; shift += 8) sum += (a >> shift & 0xFF) * (b >> shift & 0xFF);
  return sum;
}
inline int __dp4a(int a, int b, int sum) {
  int dot = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    dot += static_cast<signed char>(a >> shift & 0xFF) * static_cast<signed char>(b >> shift & 0xFF);
  }
  return cuda_host::wrapping_add(dot, sum);
}
