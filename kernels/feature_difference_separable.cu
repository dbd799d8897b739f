// Computes the same feature-level motion as feature_difference.cu for banks of separable filters of one plane, in
// float32: S[t] = sum_xy |M s|, where s are the responses of the separable filters to the plane of I[t] - I[t-1].
// mgdali/filter_bank.py splits a bank into plane, filters and mixing matrix M.
//
// S is within 1e-6 of the reference, relative. The exception is a change that cancels in nearly all pixels: when a
// frame of 1280x720 brightens evenly from black to white, the difference is 7e-6.
//
// Bound by arithmetic: the default bank takes 56 multiply-adds per pixel, and about 30 operations for the plane, the
// mixing and the square root. Shared memory holds only the plane of the difference, and none of its accesses has a bank
// conflict: a thread applies the row filters to a row of two pixels, and keeps their results of the last rows in
// registers, where the column filters find them.
//
// The kernel is compiled for one bank: its numbers are constants in the instructions, and taps that are 0 cost nothing.
// A symmetric or antisymmetric filter adds or subtracts opposite values first, which saves multiplications. Also, an
// antisymmetric filter of equal values is exactly 0.

#ifndef MGDALI_BANK
#include "default_bank.cuh"
#endif
#include "feature_tile.cuh"

namespace {

constexpr int kColumns = 64;                    // of a tile
constexpr int kRows = 64;
constexpr int kThreads = 128;
constexpr int kFramesAtOnce = 16;
constexpr int kPixels = 2;                      // per thread and row, side by side
constexpr int kStrip = 16;                      // rows per thread
constexpr int kSlots = 8;                       // rows in registers; a column filter needs seven of them
static_assert(kStrip % kSlots == 0 && kSlots >= kFilterSize);
// A warp covers 32 columns of two strips. Its warps cover the tile from left to right, then downwards.
constexpr int kWarpColumns = 32;
constexpr int kWarpRows = 2 * kStrip;
static_assert(kColumns % kWarpColumns == 0 && kRows % kWarpRows == 0 &&
              kColumns / kWarpColumns * (kRows / kWarpRows) == kThreads / kWarp);

// Returns the response of a filter to seven values.
__device__ __forceinline__ float respond(const float (&taps)[kFilterSize], const float (&values)[kFilterSize]) {
    bool even = true, odd = true;
#pragma unroll
    for (int i = 0; i < kFilterSize; ++i) {
        even = even && taps[i] == taps[kFilterSize - 1 - i];
        odd = odd && taps[i] == -taps[kFilterSize - 1 - i];
    }
    float sum = 0;
    bool any = false;
#pragma unroll
    for (int i = 0; i < (even || odd ? kMargin + 1 : kFilterSize); ++i) {
        if (taps[i] == 0) continue;
        const int opposite = kFilterSize - 1 - i;
        const float value = i == opposite ? values[i]
                            : even        ? values[i] + values[opposite]
                            : odd         ? values[i] - values[opposite]
                                          : values[i];
        sum = any ? fmaf(taps[i], value, sum) : taps[i] * value;
        any = true;
    }
    return sum;
}

// Returns |M s|.
__device__ __forceinline__ float mixed_norm(const float (&responses)[bank::kFilters]) {
    float squares = 0;
#pragma unroll
    for (int i = 0; i < bank::kOutputs; ++i) {
        float sum = 0;
        bool any = false;
#pragma unroll
        for (int j = 0; j < bank::kFilters; ++j) {
            const float weight = bank::kMixing[i][j];
            if (weight == 0) continue;
            sum = any ? fmaf(weight, responses[j], sum) : weight == 1 ? responses[j] : weight * responses[j];
            any = true;
        }
        squares = i == 0 ? sum * sum : fmaf(sum, sum, squares);
    }
    return root(squares);
}

// The plane of four pixels of a frame, as integers.
template <int kChannels>
struct Plane {
    int4 values;

    __device__ __forceinline__ explicit Plane(const unsigned (&words)[kChannels]) {
        if constexpr (kChannels == 1) {
            values = make_int4(words[0] & 255u, words[0] >> 8 & 255u, words[0] >> 16 & 255u, words[0] >> 24);
        } else {
            // Pixel 3 is in the last three bytes of its word.
            values = make_int4(weighted(words[0], 0), weighted(__funnelshift_r(words[0], words[1], 24), 0),
                               weighted(__funnelshift_r(words[1], words[2], 16), 0), weighted(words[2], 8));
        }
    }

private:
    __device__ __forceinline__ static int weighted(unsigned pixel, int shift) {
        if constexpr (bank::kPlaneIsBytes) {
            constexpr unsigned weights = static_cast<unsigned>(bank::kPlane[0]) |
                                         static_cast<unsigned>(bank::kPlane[1]) << 8 |
                                         static_cast<unsigned>(bank::kPlane[2]) << 16;
            return static_cast<int>(__dp4a(pixel, weights << shift, 0u));
        } else {
            int sum = 0;
#pragma unroll
            for (int i = 0; i < 3; ++i) sum += static_cast<int>(pixel >> (8 * i + shift) & 255u) * bank::kPlane[i];
            return sum;
        }
    }
};

template <int kChannels>
using Groups = TileGroups<kChannels, kColumns, kRows, kThreads>;
using Group = Groups<3>;
constexpr int kPitch = Group::kPixels * Group::kAcross;    // of the tile in shared memory, in floats

// Applies the row filters to a row of the tile, from the thread's first pixel minus the margin.
__device__ __forceinline__ void filter_row(const float* line, float (&results)[bank::kRows][kPixels]) {
    float values[kPixels + 2 * kMargin];
#pragma unroll
    for (int i = 0; i < kPixels + 2 * kMargin; i += 2) {
        const float2 pair = *reinterpret_cast<const float2*>(line + i);
        values[i] = pair.x;
        values[i + 1] = pair.y;
    }
#pragma unroll
    for (int pixel = 0; pixel < kPixels; ++pixel) {
        float around[kFilterSize];
#pragma unroll
        for (int i = 0; i < kFilterSize; ++i) around[i] = values[pixel + i];
#pragma unroll
        for (int i = 0; i < bank::kRows; ++i) results[i][pixel] = respond(bank::kRow[i], around);
    }
}

// Returns the sum over the thread's pixels.
__device__ __forceinline__ float sum_of_strip(const Video& video, int top, int left, const float* difference) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    constexpr int kLanesAcross = kWarpColumns / kPixels;
    const int column = warp % (kColumns / kWarpColumns) * kWarpColumns + lane % kLanesAcross * kPixels;
    const int row = warp / (kColumns / kWarpColumns) * kWarpRows + lane / kLanesAcross * kStrip;
    const int rows = left + column < video.width ? video.height - top - row : 0;
    const bool second = left + column + 1 < video.width;

    // Results of the row filters for the last eight rows of the tile: row i is in slot i % 8. The loop computes as many
    // rows at once, so that every slot is a register.
    float window[kSlots][bank::kRows][kPixels];
    const float* line = difference + row * kPitch + column;
    if (rows <= 0) return 0;
#pragma unroll
    for (int i = 0; i < 2 * kMargin; ++i, line += kPitch) filter_row(line, window[i]);
    float sum = 0;
#pragma unroll 1
    for (int base = 0; base < min(rows, kStrip); base += kSlots) {
#pragma unroll
        for (int i = 0; i < kSlots; ++i, line += kPitch) {
            filter_row(line, window[(i + 2 * kMargin) % kSlots]);
#pragma unroll
            for (int pixel = 0; pixel < kPixels; ++pixel) {
                float responses[bank::kFilters];
#pragma unroll
                for (int j = 0; j < bank::kFilters; ++j) {
                    float around[kFilterSize];
#pragma unroll
                    for (int k = 0; k < kFilterSize; ++k) around[k] = window[(i + k) % kSlots][bank::kRowOf[j]][pixel];
                    responses[j] = respond(bank::kColumn[j], around);
                }
                const float norm = mixed_norm(responses);
                if (base + i < rows && (pixel == 0 || second)) sum += norm;
            }
        }
    }
    return sum;
}

template <int kChannels>
__device__ __forceinline__ void feature_difference(const Video* videos, double units, unsigned long long* motion) {
    Tile<kColumns, kRows, kFramesAtOnce> tile;
    if (!tile.find(videos)) return;

    alignas(16) __shared__ float difference[Group::kDown * kPitch];
    alignas(16) __shared__ int4 previous[Group::kShare][kThreads];    // a thread reads only what it wrote itself
    __shared__ float warp_sums[kThreads / kWarp];

    using Bytes = Groups<kChannels>;
    Bytes groups(tile);
    unsigned words[Bytes::kShare][Bytes::kWords];
    groups.load(tile, tile.first - 1);
    groups.take(tile, words);
#pragma unroll
    for (int i = 0; i < Bytes::kShare; ++i) previous[i][threadIdx.x] = Plane<kChannels>(words[i]).values;
    groups.load(tile, tile.first);
    for (int t = tile.first; t < tile.last; ++t) {
        groups.take(tile, words);
        if (t + 1 < tile.last) groups.load(tile, t + 1);
        if (groups.has_share()) {
#pragma unroll
            for (int i = 0; i < Bytes::kShare; ++i) {
                if (!groups.holds(i)) continue;
                const int4 now = Plane<kChannels>(words[i]).values, before = previous[i][threadIdx.x];
                previous[i][threadIdx.x] = now;
                *reinterpret_cast<float4*>(difference + groups.place(i, Bytes::kPixels)) =
                    make_float4(static_cast<float>(now.x - before.x), static_cast<float>(now.y - before.y),
                                static_cast<float>(now.z - before.z), static_cast<float>(now.w - before.w));
            }
        }
        __syncthreads();
        const float sum = sum_of_strip(tile.video, tile.top, tile.left, difference);
        add_motion<kThreads>(sum, units, motion + tile.video.first + t, warp_sums);
        // The barrier in add_motion also separates the reads of this frame's tile from the writes of the next one.
    }
}

}  // namespace

// units: integer units of S per 1 of the kernel's sum. A factor that the bank's numbers leave out is part of it.
// motion: [frames of the batch]. Must be 0 before the launch.
extern "C" __global__ void __launch_bounds__(kThreads, 3)
    feature_difference_separable(const Video* videos, double units, unsigned long long* motion) {
    feature_difference<3>(videos, units, motion);
}

// The same for videos that are planes of one byte per pixel: the motion of frames with equal R, G and B.
extern "C" __global__ void __launch_bounds__(kThreads, 3)
    feature_difference_separable_plane(const Video* videos, double units, unsigned long long* motion) {
    feature_difference<1>(videos, units, motion);
}
