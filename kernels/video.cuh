// Shared by all kernels: the description of a batch of videos of different lengths and sizes, and sums over a warp.
#pragma once

// One decoded video of a batch. The host fills an array of these structs. mgdali/gpu/cuda_kernels.py defines the same
// layout as a NumPy dtype.
//
// Streams of H.264 and HEVC are decoded with the whole coding blocks at their edges. The frames are therefore stored in
// a larger size than they are shown. The kernels measure only the visible part.
struct Video {
    const unsigned char* frames;     // [num_frames, rows, columns, 3], R, G, B; luma planes have no last dimension
    long long first;                 // index of this video's first value in arrays over all frames of the batch
    int num_frames;
    int rows, columns;               // stored size
    int top, left, height, width;    // visible part of the stored frame
    int unused;

    __device__ __forceinline__ long long row_bytes(int pixel_bytes = 3) const {
        return static_cast<long long>(pixel_bytes) * columns;
    }

    __device__ __forceinline__ long long frame_bytes(int pixel_bytes = 3) const { return row_bytes(pixel_bytes) * rows; }

    // Returns the first visible pixel of frame t.
    __device__ __forceinline__ const unsigned char* visible(long long t, int pixel_bytes = 3) const {
        return frames + t * frame_bytes(pixel_bytes) + top * row_bytes(pixel_bytes) + pixel_bytes * left;
    }
};

// Returns the description of a video. The visible part comes from a file's headers, so it is limited to the stored
// frame: a wrong one must not lead to reads outside the frames.
__device__ __forceinline__ Video load_video(const Video* videos, int index) {
    Video video = videos[index];
    video.top = min(max(video.top, 0), video.rows - 1);
    video.left = min(max(video.left, 0), video.columns - 1);
    video.height = min(max(video.height, 1), video.rows - video.top);
    video.width = min(max(video.width, 1), video.columns - video.left);
    return video;
}

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
