// needs sm_80
// Computes the same feature-level motion as feature_difference.cu, with the convolution on the tensor cores. It serves
// banks that feature_difference_separable.cu does not.
//
// A warp multiplies the taps of 16 pixels (A, 16 x 176) by the filters (B, 176 x 8) in eleven steps of mma.m16n8k16.
// The taps of a pixel are the 7 x 7 x 3 differences around it. Differences are integers up to 255, which float16
// ("half") represents exactly. Filters are rounded to half.
//
// Bound by the tensor cores: 22,528 products per 16 pixels. Shared memory would be the bound if every pixel's taps were
// read again. Therefore a warp computes four rows at once: ten rows of the tile serve them all, in 60 loads instead of
// 176, and none of these loads has a bank conflict.
//
// A lane reads two taps that are adjacent in memory as one word. Therefore the 21 taps of each of the filter's 7 rows
// are padded to 24, which is 12 words. Padding has weight 0; what it reads are taps of the next pixel. The order of the
// taps within the 176 is arbitrary. Lane i = lane % 4 has the words 4 m + i of each row (m = 0, 1, 2):
//   steps 0 to 6:   words 0 and 1 of row `step`;
//   steps 7 to 10:  word 2 of rows 2 (step - 7) and 2 (step - 7) + 1. Row 7 does not exist and has weight 0.
// A pixel's row of taps begins at an even or an odd half, depending on its column. Therefore the tile is stored twice,
// the second time shifted by one half, so that every pair of taps is a whole word in one of the two copies.

#include "feature_tile.cuh"
#include "mma.cuh"

namespace {

constexpr int kColumns = 32;
constexpr int kRows = 16;
constexpr int kThreads = 256;
constexpr int kFramesAtOnce = 16;
constexpr int kPixels = 16;                                    // per multiplication of a warp, in one row
constexpr int kRowsAtOnce = 4;                                 // of a warp
constexpr int kSteps = 11;
constexpr int kWordsPerRow = 3;                                // of a lane
using Groups = TileGroups<3, kColumns, kRows, kThreads>;

constexpr int kGroupWords = 3 * Groups::kPixels / 2;
constexpr int kRowWords = kGroupWords * Groups::kAcross;
constexpr int kCopyWords = kRowWords * Groups::kDown;
// A warp reads both copies at once, for even and odd columns. They are offset by half of the 32 banks, which avoids
// bank conflicts.
constexpr int kCopyStride = kCopyWords + (16 - kCopyWords % 32 + 32) % 32;
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
        if (to != difference) halves[-1] = static_cast<unsigned short>(pairs[0]);
    }
}

// Returns, in lane i of each group of four lanes, the sum of values[i] over the group.
__device__ __forceinline__ float sum_of_own_row(const float (&values)[kRowsAtOnce], int i) {
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
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    feature_difference_mma(const Video* videos, const unsigned* filters, double units, unsigned long long* motion) {
    Tile<kColumns, kRows, kFramesAtOnce> tile;
    if (!tile.find(videos)) return;

    alignas(16) __shared__ unsigned difference[2 * kCopyStride];
    __shared__ float warp_sums[kThreads / kWarp];

    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int g = lane / 4, i = lane % 4;
    unsigned weights[kSteps][2];
#pragma unroll
    for (int word = 0; word < 2 * kSteps; ++word) {
        weights[word / 2][word % 2] = __ldg(filters + (g * 2 * kSteps + word) * 4 + i);
    }
    const int row = warp / (kColumns / kPixels) * kRowsAtOnce;
    const int column = warp % (kColumns / kPixels) * kPixels + g;
    // The words of pixels `column` and `column + 8` are in the same copy, 12 words apart.
    const unsigned* const taps = difference + row * kRowWords + 3 * column / 2 + (column % 2 ? kCopyStride : 0) + i;
    const bool visible = tile.top + row + i < tile.video.height;
    const bool first_visible = visible && tile.left + column < tile.video.width;
    const bool second_visible = visible && tile.left + column + 8 < tile.video.width;

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
        unsigned words[2][kWordsPerRow][2];   // of this row of the tile and the one before: word, pixel
#pragma unroll
        for (int y = 0; y < kRowsAtOnce + 2 * kMargin; ++y) {
            unsigned (&own)[kWordsPerRow][2] = words[y % 2];
#pragma unroll
            for (int m = 0; m < kWordsPerRow; ++m) {
                own[m][0] = taps[y * kRowWords + 4 * m];
                own[m][1] = taps[y * kRowWords + 4 * m + 12];
            }
#pragma unroll
            for (int output = 0; output < kRowsAtOnce; ++output) {
                const int tap = y - output;   // row of the filter
                if (tap < 0 || tap >= kFilterSize) continue;
                multiply_add(d[output], {own[0][0], own[0][1], own[1][0], own[1][1]}, weights[tap]);
                const bool last = tap == kFilterSize - 1;
                if (tap % 2 == 0 && !last) continue;
                // The last row has no partner: its own words take the place of those with weight 0.
                const unsigned (&above)[kWordsPerRow][2] = words[last ? y % 2 : 1 - y % 2];
                multiply_add(d[output], {above[2][0], above[2][1], own[2][0], own[2][1]},
                             weights[kFilterSize + tap / 2]);
            }
        }
        float upper[kRowsAtOnce], lower[kRowsAtOnce];
#pragma unroll
        for (int output = 0; output < kRowsAtOnce; ++output) {
            upper[output] = fmaf(d[output][0], d[output][0], d[output][1] * d[output][1]);
            lower[output] = fmaf(d[output][2], d[output][2], d[output][3] * d[output][3]);
        }
        const float first = root(sum_of_own_row(upper, i)), second = root(sum_of_own_row(lower, i));
        const float sum = (first_visible ? first : 0.0f) + (second_visible ? second : 0.0f);
        add_motion<kThreads>(sum, units, motion + tile.video.first + t, warp_sums);
        // The barrier in add_motion also separates the reads of this frame's tile from the writes of the next one.
    }
}
