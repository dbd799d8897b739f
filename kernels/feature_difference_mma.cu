// needs sm_80
// Computes the same feature-level motion as feature_difference.cu, with the convolution on the tensor cores. It serves
// banks that feature_difference_separable.cu does not.
//
// A warp multiplies the taps of 16 pixels (A, 16 x 176) by the filters (B, 176 x 8) in eleven steps of mma.m16n8k16.
// The taps of a pixel are the 7 x 7 x 3 differences around it. Differences are integers up to 255, which float16
// ("half") represents exactly. Filters are rounded to half.
//
// Bound by the tensor cores: 22,528 products per 16 pixels. Shared memory would be the bound if every pixel's taps were
// read again. Therefore a warp computes eight rows at once: 14 rows of the tile serve them all, in 84 loads instead of
// 352, and none of these loads has a bank conflict.
//
// A lane reads two taps that are adjacent in memory as one word. Therefore the 21 taps of each of the filter's 7 rows
// are padded to 24, which is 12 words. Padding has weight 0; what it reads are taps of the next pixel. The order of the
// taps within the 176 is arbitrary. Lane i = lane % 4 has the words 4 m + i of each row (m = 0, 1, 2). A step takes two
// words of a lane:
//   seven steps: words 0 and 1 of each row;
//   four steps:  word 2 of two rows. These are rows 2 k and 2 k + 1 of the tile for all pixels, so that all of them
//                use the same registers. For pixels of odd rows, they are rows 2 k - 1 and 2 k of the filter. Rows that
//                the filter does not have (7 or -1) have weight 0.
// A pixel's row of taps begins at an even or an odd half, depending on its column. Therefore the tile is stored twice,
// the second time shifted by one half, so that every pair of taps is a whole word in one of the two copies.

#include "feature_tile.cuh"
#include "mma.cuh"

namespace {

constexpr int kColumns = 32;
constexpr int kRows = 16;
constexpr int kThreads = 128;
constexpr int kFramesAtOnce = 16;
constexpr int kPixels = 16;                                    // per multiplication of a warp, in one row
constexpr int kRowsAtOnce = 8;                                 // of a warp
constexpr int kLanesPerRow = 4;                                // lanes that hold responses of a pixel
constexpr int kPairs = (kFilterSize + 1) / 2;                  // of the filter's rows
constexpr int kFilterWords = 2 * kFilterSize + 2 * kPairs;     // of a lane
using Groups = TileGroups<3, kColumns, kRows, kThreads>;

constexpr int kGroupWords = 3 * Groups::kPixels / 2;
constexpr int kRowWords = kGroupWords * Groups::kAcross;
constexpr int kCopyWords = kRowWords * Groups::kDown;
// A warp reads both copies at once, for even and odd columns. They are offset by half of the 32 banks, which avoids
// bank conflicts.
constexpr int kCopyStride = kCopyWords + (16 - kCopyWords % 32 + 32) % 32;
static_assert(kCopyStride > kCopyWords);   // the first half of the tile has a place before the second copy
static_assert(kColumns / kPixels * (kRows / kRowsAtOnce) == kThreads / kWarp);

// Stores a thread's share of the tile.
__device__ __forceinline__ void store(const Groups& groups, const unsigned (&now)[Groups::kShare][Groups::kWords],
                                      const unsigned (&before)[Groups::kShare][Groups::kWords], unsigned* difference) {
    if (!groups.has_share()) return;
#pragma unroll
    for (int i = 0; i < Groups::kShare; ++i) {
        if (!groups.holds(i)) continue;
        unsigned pairs[kGroupWords];
#pragma unroll
        for (int j = 0; j < kGroupWords; ++j) pairs[j] = half_differences(now[i][j / 2], before[i][j / 2], j % 2);
        unsigned* to = difference + groups.place(i, kGroupWords);
        uint2* first = reinterpret_cast<uint2*>(to);
        uint2* second = reinterpret_cast<uint2*>(to + kCopyStride);
#pragma unroll
        for (int j = 0; j < kGroupWords; j += 2) first[j / 2] = make_uint2(pairs[j], pairs[j + 1]);
        // The copy for odd columns is shifted: its half h is half h + 1 of the first copy. The group's first half
        // belongs to the last word of the group before it.
#pragma unroll
        for (int j = 0; j + 2 < kGroupWords; j += 2) {
            second[j / 2] = make_uint2(__funnelshift_r(pairs[j], pairs[j + 1], 16),
                                       __funnelshift_r(pairs[j + 1], pairs[j + 2], 16));
        }
        to[kCopyStride + kGroupWords - 2] = __funnelshift_r(pairs[kGroupWords - 2], pairs[kGroupWords - 1], 16);
        unsigned short* halves = reinterpret_cast<unsigned short*>(to + kCopyStride);
        halves[2 * kGroupWords - 2] = static_cast<unsigned short>(pairs[kGroupWords - 1] >> 16);
        halves[-1] = static_cast<unsigned short>(pairs[0]);
    }
}

// Returns, in lane i of each group of four lanes, the sum of values[i] over the group.
__device__ __forceinline__ float sum_of_own_row(const float (&values)[kLanesPerRow], int i) {
    const bool odd = i & 1, high = i & 2;
    float pairs[2];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
        const float other = __shfl_xor_sync(kAllLanes, odd ? values[2 * k] : values[2 * k + 1], 1);
        pairs[k] = (odd ? values[2 * k + 1] : values[2 * k]) + other;
    }
    const float other = __shfl_xor_sync(kAllLanes, high ? pairs[0] : pairs[1], 2);
    return (high ? pairs[1] : pairs[0]) + other;
}

}  // namespace

// filters: [8, 22, 4] pairs of halves by filter, word and lane, in the order and with the padding described above.
// motion: [frames of the batch]. Must be 0 before the launch. Afterwards S = motion / units.
extern "C" __global__ void __launch_bounds__(kThreads, 4)
    feature_difference_mma(const Video* videos, const unsigned* filters, double units, unsigned long long* motion) {
    Tile<kColumns, kRows, kFramesAtOnce> tile;
    if (!tile.find(videos)) return;

    alignas(16) __shared__ unsigned difference[2 * kCopyStride];
    __shared__ float warp_sums[kThreads / kWarp];

    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int g = lane / 4, i = lane % 4;
    const auto weight = [&](int word) { return __ldg(filters + (g * kFilterWords + word) * 4 + i); };
    unsigned weights[kFilterSize][2], rest[2][kPairs][2];
#pragma unroll
    for (int tap = 0; tap < kFilterSize; ++tap) {
        weights[tap][0] = weight(2 * tap);
        weights[tap][1] = weight(2 * tap + 1);
    }
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
        const int first = 2 * kFilterSize + 2 * pair;
        rest[0][pair][0] = weight(first);
        rest[0][pair][1] = weight(first + 1);
        rest[1][pair][0] = weight(pair == 0 ? kFilterWords - 1 : first - 1);
        rest[1][pair][1] = weight(first);
    }
    const int row = warp / (kColumns / kPixels) * kRowsAtOnce;
    const int column = warp % (kColumns / kPixels) * kPixels + g;
    // The words of pixels `column` and `column + 8` are in the same copy, 12 words apart.
    const unsigned* const taps = difference + row * kRowWords + 3 * column / 2 + (column % 2 ? kCopyStride : 0) + i;
    const int rows = tile.video.height - tile.top - row;
    const bool first_visible = tile.left + column < tile.video.width;
    const bool second_visible = tile.left + column + 8 < tile.video.width;

    Groups groups(tile);
    unsigned before[Groups::kShare][Groups::kWords];
    groups.load(tile, tile.first - 1);
    groups.take(tile, before);
    groups.load(tile, tile.first);
    for (int t = tile.first; t < tile.last; ++t) {
        unsigned now[Groups::kShare][Groups::kWords];
        groups.take(tile, now);
        if (t + 1 < tile.last) groups.load(tile, t + 1);
        store(groups, now, before, difference);
#pragma unroll
        for (int share = 0; share < Groups::kShare; ++share) {
#pragma unroll
            for (int j = 0; j < Groups::kWords; ++j) before[share][j] = now[share][j];
        }
        __syncthreads();

        float d[kRowsAtOnce][4] = {};
        unsigned last[4];   // word 2 of two rows of the tile, for two pixels each
#pragma unroll
        for (int y = 0; y < kRowsAtOnce + 2 * kMargin; ++y) {
            const unsigned* line = taps + y * kRowWords;
            const unsigned own[4] = {line[0], line[12], line[4], line[16]};
            last[2 * (y % 2)] = line[8];
            last[2 * (y % 2) + 1] = line[20];
#pragma unroll
            for (int output = 0; output < kRowsAtOnce; ++output) {
                const int tap = y - output;   // row of the filter
                if (tap >= 0 && tap < kFilterSize) multiply_add(d[output], own, weights[tap]);
                // Both rows of the pair; one of them may be outside the filter.
                if (y % 2 && tap >= 0 && tap <= kFilterSize) multiply_add(d[output], last, rest[output % 2][tap / 2]);
            }
        }
        float sum = 0;
#pragma unroll
        for (int base = 0; base < kRowsAtOnce; base += kLanesPerRow) {
            float upper[kLanesPerRow], lower[kLanesPerRow];
#pragma unroll
            for (int k = 0; k < kLanesPerRow; ++k) {
                const float (&own)[4] = d[base + k];
                upper[k] = fmaf(own[0], own[0], own[1] * own[1]);
                lower[k] = fmaf(own[2], own[2], own[3] * own[3]);
            }
            // Lane i takes the square roots of row base + i.
            const float first = root(sum_of_own_row(upper, i)), second = root(sum_of_own_row(lower, i));
            if (base + i < rows && first_visible) sum += first;
            if (base + i < rows && second_visible) sum += second;
        }
        add_motion<kThreads>(sum, units, motion + tile.video.first + t, warp_sums);
        // The barrier in add_motion also separates the reads of this frame's tile from the writes of the next one.
    }
}
