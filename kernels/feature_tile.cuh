// Shared by both feature-level kernels: a block's tile of the difference of two frames, and the sum over the tile.
#pragma once

#include "video.cuh"

constexpr int kFilters = 8;
constexpr int kFilterSize = 7;
constexpr int kMargin = kFilterSize / 2;

// The part of the batch that a block processes: grid x counts the tiles of the largest frame, y the groups of frames,
// z the videos.
template <int kColumns, int kRows, int kFramesAtOnce>
struct Tile {
    Video video;
    int top, left;        // position of the tile without its margin
    int first, last;      // frames whose motion this block measures: [first, last)

    // Returns false if the block has nothing to do.
    __device__ __forceinline__ bool find(const Video* videos) {
        video = load_video(videos, blockIdx.z);
        const int across = (video.width + kColumns - 1) / kColumns;
        const int down = (video.height + kRows - 1) / kRows;
        const int index = blockIdx.x;
        top = index / across * kRows;
        left = index % across * kColumns;
        first = 1 + blockIdx.y * kFramesAtOnce;
        last = min(first + kFramesAtOnce, video.num_frames);
        return index < across * down && first < last;
    }
};

// A thread's share of the tile with its margin: the bytes i, i + kThreads, i + 2 kThreads and so on, in row order.
// They stay in registers from one frame to the next, so that each frame is read only once.
template <int kColumns, int kRows, int kThreads>
struct TileBytes {
    static constexpr int kRowBytes = 3 * (kColumns + 2 * kMargin);
    static constexpr int kBytes = kRowBytes * (kRows + 2 * kMargin);
    static constexpr int kShare = (kBytes + kThreads - 1) / kThreads;
    unsigned words[(kShare + 3) / 4] = {};   // four bytes per word

    // Reads frame t, and calls store(i, difference) with the difference from the previous frame.
    template <class Where, class Store>
    __device__ __forceinline__ void advance(const Where& tile, int t, Store store) {
        const int visible_bytes = 3 * tile.video.width;   // of a row
        const int stored_bytes = 3 * tile.video.columns;
        const unsigned char* frame = tile.video.visible(t);
#pragma unroll
        for (int share = 0; share < kShare; ++share) {
            const int i = share * kThreads + static_cast<int>(threadIdx.x);
            const int y = tile.top - kMargin + i / kRowBytes;
            const int x = 3 * (tile.left - kMargin) + i % kRowBytes;
            const bool inside = y >= 0 && y < tile.video.height && x >= 0 && x < visible_bytes;
            // The difference outside the visible part is 0, which is the convolution's zero padding.
            const int byte = inside && i < kBytes ? __ldg(frame + (y * stored_bytes + x)) : 0;
            unsigned& word = words[share / 4];
            const int shift = 8 * (share % 4);
            if (i < kBytes) store(i, byte - static_cast<int>(word >> shift & 255u));
            word = (word & ~(255u << shift)) | static_cast<unsigned>(byte) << shift;
        }
    }
};

// Adds the block's sum to the motion of one frame, as an integer number of units. The sum of integers does not depend
// on the order of the blocks, so that the same seed always gives the same picks.
template <int kThreads>
__device__ __forceinline__ void add_motion(float value, double units, unsigned long long* motion, float* warp_sums) {
    const float sum = warp_sum(value);
    if (threadIdx.x % kWarp == 0) warp_sums[threadIdx.x / kWarp] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        double total = 0;
        for (int warp = 0; warp < kThreads / kWarp; ++warp) total += warp_sums[warp];
        atomicAdd(motion, static_cast<unsigned long long>(total * units + 0.5));
    }
}
