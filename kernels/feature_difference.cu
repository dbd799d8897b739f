// Computes feature-level motion (Eq. 2, 3): S[t] = sum_xy sqrt(sum_i (filter_i * (I[t] - I[t-1]))^2), in float32.
// It serves banks that feature_difference_separable.cu does not, on GPUs before sm_80.
//
// Bound by arithmetic: 8 filters of 147 taps are 2352 operations per pixel.

#include "feature_tile.cuh"

namespace {

constexpr int kColumns = 32;
constexpr int kRows = 8;
constexpr int kThreads = kColumns * kRows;
constexpr int kFramesAtOnce = 16;
constexpr int kTaps = 3 * kFilterSize * kFilterSize;
using Groups = TileGroups<3, kColumns, kRows, kThreads>;
constexpr int kPitch = 3 * Groups::kPixels * Groups::kAcross;   // of the tile in shared memory, in floats

}  // namespace

// filters: [147, 8], tap (row, column, channel) by filter.
// motion: [frames of the batch]. Must be 0 before the launch. Afterwards S = motion / units.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    feature_difference(const Video* videos, const float* filters, double units, unsigned long long* motion) {
    Tile<kColumns, kRows, kFramesAtOnce> tile;
    if (!tile.find(videos)) return;

    alignas(16) __shared__ float taps[kTaps][kFilters];
    __shared__ float difference[Groups::kDown * kPitch];
    __shared__ float warp_sums[kThreads / kWarp];
    for (int i = threadIdx.x; i < kTaps * kFilters; i += kThreads) taps[i / kFilters][i % kFilters] = filters[i];

    const int column = threadIdx.x % kColumns, row = threadIdx.x / kColumns;
    const bool inside = tile.top + row < tile.video.height && tile.left + column < tile.video.width;
    Groups groups(tile);
    unsigned previous[Groups::kShare][Groups::kWords];
    groups.load(tile, tile.first - 1);
    groups.take(tile, previous);
    groups.load(tile, tile.first);
    for (int t = tile.first; t < tile.last; ++t) {
        unsigned words[Groups::kShare][Groups::kWords];
        groups.take(tile, words);
        if (t + 1 < tile.last) groups.load(tile, t + 1);
#pragma unroll
        for (int i = 0; i < Groups::kShare; ++i) {
            float* to = difference + groups.place(i, kPitch / Groups::kAcross);
#pragma unroll
            for (int byte = 0; byte < 4 * Groups::kWords; ++byte) {
                const unsigned now = words[i][byte / 4], before = previous[i][byte / 4];
                const int shift = 8 * (byte % 4);
                const int change = static_cast<int>(now >> shift & 255u) - static_cast<int>(before >> shift & 255u);
                if (groups.has_share() && groups.holds(i)) to[byte] = static_cast<float>(change);
            }
#pragma unroll
            for (int j = 0; j < Groups::kWords; ++j) previous[i][j] = words[i][j];
        }
        __syncthreads();

        float responses[kFilters] = {};
        for (int y = 0; y < kFilterSize; ++y) {
            const float* line = difference + (row + y) * kPitch + 3 * column;
#pragma unroll
            for (int x = 0; x < 3 * kFilterSize; ++x) {
                const float4* weights = reinterpret_cast<const float4*>(taps[y * 3 * kFilterSize + x]);
                const float4 low = weights[0], high = weights[1];
                const float value = line[x];
                responses[0] = fmaf(value, low.x, responses[0]);
                responses[1] = fmaf(value, low.y, responses[1]);
                responses[2] = fmaf(value, low.z, responses[2]);
                responses[3] = fmaf(value, low.w, responses[3]);
                responses[4] = fmaf(value, high.x, responses[4]);
                responses[5] = fmaf(value, high.y, responses[5]);
                responses[6] = fmaf(value, high.z, responses[6]);
                responses[7] = fmaf(value, high.w, responses[7]);
            }
        }
        float squares = 0;
#pragma unroll
        for (int i = 0; i < kFilters; ++i) squares = fmaf(responses[i], responses[i], squares);
        add_motion<kThreads>(inside ? sqrtf(squares) : 0.0f, units, motion + tile.video.first + t, warp_sums);
        // The barrier in add_motion also separates the reads of this frame's tile from the writes of the next one.
    }
}
