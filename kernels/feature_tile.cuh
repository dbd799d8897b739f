// Shared by the feature-level kernels: a block's tile of the difference of two frames, and the sum over the tile.
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

// Returns the value. The compiler computes what depends on it again for every frame, instead of keeping it in registers
// that the filters need.
__device__ __forceinline__ int computed_again(int value) {
#if defined(__CUDA_ARCH__)
    asm volatile("" : "+r"(value));
#endif
    return value;
}

// A thread's share of a tile with its margin: groups of four pixels, at the same place in every kRowsAtOnce-th row.
//
// A group is read as aligned words, from any address, and stays in registers until its frame is computed. So a block
// issues all loads of a frame before it computes the previous one, and waits for none of them meanwhile.
template <int kChannels, int kColumns, int kRows, int kThreads>
struct TileGroups {
    static constexpr int kPixels = 4;                                   // per group
    static constexpr int kWords = kChannels;                            // four pixels are this many words of four bytes
    static constexpr int kAcross = (kColumns + 2 * kMargin + kPixels - 1) / kPixels;
    static constexpr int kDown = kRows + 2 * kMargin;
    static constexpr int kRowsAtOnce = kThreads / kAcross;
    static constexpr int kShare = (kDown + kRowsAtOnce - 1) / kRowsAtOnce;

    int column, row;       // position of the first group in the tile with its margin, in groups and in rows
    int first, last;       // the group's visible pixels: [first, last), empty if the thread has nothing to read
    unsigned rows;         // bit i: row `row + i kRowsAtOnce` of the tile is visible
    unsigned low;          // lowest bits of the address of the first group in the frame that was loaded
    unsigned words[kShare][kWords + 1] = {};   // of the frame that was loaded; always 0 in rows that are not visible

    template <class Where>
    __device__ __forceinline__ explicit TileGroups(const Where& tile) {
        column = threadIdx.x % kAcross;
        row = threadIdx.x / kAcross;
        const int x = tile.left - kMargin + kPixels * column, y = tile.top - kMargin + row;
        first = max(0, -x);
        last = row < kRowsAtOnce ? min(kPixels, tile.video.width - x) : 0;
        rows = 0;
#pragma unroll
        for (int i = 0; i < kShare; ++i) {
            const int down = y + i * kRowsAtOnce;
            const bool visible = row + i * kRowsAtOnce < kDown && down >= 0 && down < tile.video.height;
            if (visible && first < last) rows |= 1u << i;
        }
        low = 0;
    }

    // Whether the thread has a share of the tile, and whether group i is part of it.
    __device__ __forceinline__ bool has_share() const { return row < kRowsAtOnce; }
    __device__ __forceinline__ bool holds(int i) const {
        return kDown % kRowsAtOnce == 0 || row + i * kRowsAtOnce < kDown;
    }

    // Issues the loads of frame t.
    template <class Where>
    __device__ __forceinline__ void load(const Where& tile, int t) {
        const Video& video = tile.video;
        const int x = tile.left - kMargin + kPixels * column, y = tile.top - kMargin + row;
        const long long row_bytes = video.row_bytes(kChannels);
        const unsigned char* group = video.visible(t, kChannels) + y * row_bytes + kChannels * x;
        low = static_cast<unsigned>(reinterpret_cast<unsigned long long>(group));
        if (whole(tile)) {
#pragma unroll
            for (int i = 0; i < kShare; ++i, group += kRowsAtOnce * row_bytes) {
                const unsigned* word = aligned(group);
                // The word of the last byte: in aligned groups the same as the one before, never one word further.
                const unsigned* end = aligned(group + kPixels * kChannels - 1);
#pragma unroll
                for (int j = 0; j < kWords; ++j) load_word(video, rows >> i & 1u, word + j, words[i][j]);
                load_word(video, rows >> i & 1u, end, words[i][kWords]);
            }
        } else {
            // Only words with bytes of visible pixels, because others may be outside the video.
            const int from = kChannels * computed_again(first), to = kChannels * computed_again(last) - 1;
            int bytes[kWords + 1];
#pragma unroll
            for (int j = 0; j <= kWords; ++j) bytes[j] = min(max(4 * j, from), to);
#pragma unroll
            for (int i = 0; i < kShare; ++i, group += kRowsAtOnce * row_bytes) {
#pragma unroll
                for (int j = 0; j <= kWords; ++j) {
                    load_word(video, rows >> i & 1u, aligned(group + bytes[j]), words[i][j]);
                }
            }
        }
    }

    // Returns the bytes of the groups of the frame that was loaded. Bytes that are not visible are the same in every
    // frame, so their difference is 0, which is the convolution's zero padding.
    template <class Where>
    __device__ __forceinline__ void take(const Where& tile, unsigned (&groups)[kShare][kWords]) const {
        const unsigned row_bytes = static_cast<unsigned>(kChannels) * tile.video.columns;
#pragma unroll
        for (int i = 0; i < kShare; ++i) {
            const unsigned shift = 8 * (low + i * kRowsAtOnce * row_bytes);
#pragma unroll
            for (int j = 0; j < kWords; ++j) groups[i][j] = __funnelshift_r(words[i][j], words[i][j + 1], shift);
        }
        if (whole(tile)) return;
        const int from = kChannels * computed_again(first), to = kChannels * computed_again(last);
        unsigned visible[kWords];
#pragma unroll
        for (int j = 0; j < kWords; ++j) {
            visible[j] = 0;
#pragma unroll
            for (int byte = 4 * j; byte < 4 * j + 4; ++byte) {
                if (byte >= from && byte < to) visible[j] |= 255u << (8 * (byte % 4));
            }
        }
#pragma unroll
        for (int i = 0; i < kShare; ++i) {
#pragma unroll
            for (int j = 0; j < kWords; ++j) groups[i][j] &= visible[j];
        }
    }

    // Returns the position in the tile of the group of row `row + i kRowsAtOnce`, if a group takes `size` elements.
    __device__ __forceinline__ int place(int i, int size) const {
        return ((row + i * kRowsAtOnce) * kAcross + column) * size;
    }

private:
    // Whether all groups of the tile are visible from their first to their last pixel, apart from whole rows.
    template <class Where>
    __device__ __forceinline__ static bool whole(const Where& tile) {
        return tile.left >= kMargin && tile.left - kMargin + kPixels * kAcross <= tile.video.width;
    }

    __device__ __forceinline__ static const unsigned* aligned(const unsigned char* byte) {
        return reinterpret_cast<const unsigned*>(reinterpret_cast<unsigned long long>(byte) & ~3ull);
    }

    // Reads a word that contains a byte of the video, if `on`. The first and the last word of a video may also contain
    // up to three bytes beside it. They can be read, because CUDA maps memory in pages, and are not used.
    __device__ __forceinline__ static void load_word(const Video& video, bool on, const unsigned* address,
                                                     unsigned& word) {
        if (!on) return;
#if defined(__CUDA_ARCH__)
        word = __ldg(address);
#else
        // On the CPU arrays end anywhere: bytes outside the video are not read.
        const unsigned char* from = reinterpret_cast<const unsigned char*>(address);
        const unsigned char* end = video.frames + video.num_frames * video.frame_bytes(kChannels);
        if (from + 4 <= video.frames || from >= end) word = *address;   // an error
        for (int i = 0; i < 4; ++i) {
            if (from + i < video.frames || from + i >= end) continue;
            word = (word & ~(255u << (8 * i))) | static_cast<unsigned>(from[i]) << (8 * i);
        }
#endif
    }
};

// Returns the square root of a number that is not negative; exactly 0 for 0. Unlike sqrtf, it has no branch for special
// values, and it does not depend on the GPU's approximation: the last step rounds almost always correctly.
__device__ __forceinline__ float root(float value) {
#if defined(__CUDA_ARCH__)
    float inverse;
    asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(fmaxf(value, 1e-30f)));
#else
    const float inverse = 1 / sqrtf(fmaxf(value, 1e-30f));
#endif
    const float near = value * inverse;
    return fmaf(fmaf(-near, near, value), 0.5f * inverse, near);
}

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
