// Shared by all kernels: the description of a batch of videos of different lengths and sizes, and sums over a warp.
#pragma once

// One decoded video of a batch. The host fills an array of these structs. mgdali/gpu/cuda_kernels.py defines the same
// layout as a NumPy dtype.
struct Video {
    const unsigned char* frames;  // [num_frames, height, width, 3], R, G, B
    long long first;              // index of this video's first value in arrays over all frames of the batch
    int num_frames;
    int height;
    int width;
    int unused;
};

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kWarp = 32;

__device__ __forceinline__ unsigned warp_sum(unsigned value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    return __reduce_add_sync(kAllLanes, value);
#else
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
    return value;
#endif
}

__device__ __forceinline__ float warp_sum(float value) {
    for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAllLanes, value, lanes);
    return value;
}
