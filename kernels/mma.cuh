// The tensor cores' multiply-add as a function, and the same operation in plain C++ for builds without tensor cores.
#pragma once

#include "video.cuh"

#if !defined(__CUDA_ARCH__)
inline unsigned half_of(int value) {
    if (value == 0) return 0;
    const unsigned size = value < 0 ? -value : value;
    int exponent = 0;
    while (size >> (exponent + 1)) ++exponent;
    const unsigned mantissa = (size << 10 >> exponent) & 0x3ffu;
    return (value < 0 ? 0x8000u : 0u) | static_cast<unsigned>(exponent + 15) << 10 | mantissa;
}
#endif

// Returns the differences of two adjacent bytes of two words as two halves: of bytes 0 and 1 (pair 0), or 2 and 3.
__device__ __forceinline__ unsigned half_differences(unsigned now, unsigned before, int pair) {
#if defined(__CUDA_ARCH__)
    // The half with the bits 0x64bb is 1024 + 0xbb. The difference of two such halves is exact.
    const unsigned selector = pair ? 0x4342 : 0x4140;
    const unsigned to = __byte_perm(now, 0x64646464u, selector), from = __byte_perm(before, 0x64646464u, selector);
    unsigned halves;
    asm("sub.f16x2 %0, %1, %2;" : "=r"(halves) : "r"(to), "r"(from));
    return halves;
#else
    unsigned halves = 0;
    for (int i = 0; i < 2; ++i) {
        const int shift = 8 * (2 * pair + i);
        const int difference = static_cast<int>(now >> shift & 255u) - static_cast<int>(before >> shift & 255u);
        halves |= half_of(difference) << (16 * i);
    }
    return halves;
#endif
}

#if !defined(__CUDA_ARCH__)
inline float float_of_half(unsigned half) {
    const unsigned exponent = half >> 10 & 31u, mantissa = half & 0x3ffu;
    const float size = exponent == 0 ? ldexpf(static_cast<float>(mantissa), -24)
                                     : ldexpf(static_cast<float>(mantissa | 0x400u), static_cast<int>(exponent) - 25);
    return half & 0x8000u ? -size : size;
}
#endif

// D += A B for a warp: A is 16x16 halves by rows, B 16x8 halves by columns, D 16x8 floats (mma.m16n8k16).
// With g = lane / 4 and i = lane % 4, the registers of a lane contain
//   a[0], a[1]: rows g and g + 8, columns 2i and 2i + 1;   a[2], a[3]: the same rows, columns 2i + 8 and 2i + 9;
//   b[0], b[1]: rows 2i and 2i + 1, and 2i + 8 and 2i + 9, of column g;
//   d[0], d[1]: row g, columns 2i and 2i + 1;              d[2], d[3]: row g + 8, the same columns.
__device__ __forceinline__ void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#if defined(__CUDA_ARCH__)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    const int lane = threadIdx.x % kWarp, g = lane / 4, i = lane % 4;
    for (int pair = 0; pair < 4; ++pair) {
        for (int part = 0; part < 2; ++part) {
            const unsigned upper = __shfl_sync(kAllLanes, a[2 * part], 4 * g + pair);
            const unsigned lower = __shfl_sync(kAllLanes, a[2 * part + 1], 4 * g + pair);
            for (int column = 0; column < 2; ++column) {
                const unsigned weights = __shfl_sync(kAllLanes, b[part], 4 * (2 * i + column) + pair);
                for (int shift = 0; shift < 32; shift += 16) {
                    const float weight = float_of_half(weights >> shift & 0xffffu);
                    d[column] += float_of_half(upper >> shift & 0xffffu) * weight;
                    d[column + 2] += float_of_half(lower >> shift & 0xffffu) * weight;
                }
            }
        }
    }
#endif
}
