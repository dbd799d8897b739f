// needs sm_80
// Computes the same feature-level motion as feature_difference.cu, with the convolution on the tensor cores.
//
// A warp multiplies the taps of 16 pixels (A, 16 x 160) by the filters (B, 160 x 8) in ten steps of mma.m16n8k16. The
// taps of a pixel are the 7 x 7 x 3 differences around it. Differences are integers up to 255, which float16 ("half")
// represents exactly. Filters are rounded to half.
//
// Bound by shared memory: each step reads four words per lane and adds 2048 products per warp.
//
// A lane reads two taps that are adjacent in memory as one word. Therefore the 21 taps of each of the filter's 7 rows
// are padded to 22, which is 11 words per row and 77 words in total, and these are padded to 80. Padding has weight 0.
// The order of the taps within the 160 is arbitrary. It is chosen so that lane i = lane % 4 computes the addresses of
// its 20 words with few operations:
//   words 0 to 13:  for each row two words, 4 m + i of that row (m = 0, 1);
//   words 14 to 19: for i < 3, word 8 + i of rows 0 to 5; for i = 3, words 8, 9 and 10 of row 6, then padding.
// A pixel's row of taps begins at an even or an odd half, depending on its column. Therefore the tile is stored twice,
// the second time shifted by one half, so that every pair of taps is a whole word in one of the two copies.

#include "feature_tile.cuh"
#include "mma.cuh"

namespace {

constexpr int kColumns = 32;
constexpr int kRows = 16;
constexpr int kThreads = 256;
constexpr int kFramesAtOnce = 16;
constexpr int kPixels = 16;                                   // per multiplication of a warp, in one row
constexpr int kSteps = 10;
constexpr int kWordsAhead = 2 * kFilterSize;                  // words 0 to 13 of a lane
using Bytes = TileBytes<kColumns, kRows, kThreads>;

constexpr int kRowWords = Bytes::kRowBytes / 2 + 3;           // including the padding of the last pixels
constexpr int kCopyWords = kRowWords * (kRows + 2 * kMargin);
// A warp reads both copies at once, for even and odd columns. They are offset by half of the 32 banks, which avoids
// bank conflicts.
constexpr int kCopyStride = kCopyWords + (16 - kCopyWords % 32 + 32) % 32;
constexpr int kGroups = kColumns / kPixels * kRows / (kThreads / kWarp);   // multiplications per warp and tile

}  // namespace

// filters: [8, 20, 4] pairs of halves by filter, word and lane, in the order and with the padding described above.
// motion: [frames of the batch]. Must be 0 before the launch. Afterwards S = motion / units.
extern "C" __global__ void __launch_bounds__(kThreads, 2)
    feature_difference_mma(const Video* videos, const unsigned* filters, double units, unsigned long long* motion) {
    Tile<kColumns, kRows, kFramesAtOnce> tile;
    if (!tile.find(videos)) return;

    __shared__ unsigned difference[2 * kCopyStride];
    __shared__ float warp_sums[kThreads / kWarp];
    unsigned short* const halves = reinterpret_cast<unsigned short*>(difference);
    // Padding has weight 0, but uninitialized memory may contain NaN or infinity, and 0 times these is not 0.
    for (int i = threadIdx.x; i < 2 * kCopyStride; i += kThreads) difference[i] = 0;

    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int g = lane / 4, i = lane % 4;
    unsigned weights[kSteps][2];
#pragma unroll
    for (int word = 0; word < 2 * kSteps; ++word) {
        weights[word / 2][word % 2] = __ldg(filters + (g * 2 * kSteps + word) * 4 + i);
    }
    const int tail = i < 3 ? 8 + i : (kFilterSize - 1) * kRowWords + 8;
    const int tail_stride = i < 3 ? kRowWords : 1;

    Bytes bytes;
    bytes.advance(tile, tile.first - 1, [](int, int) {});
    __syncthreads();
    for (int t = tile.first; t < tile.last; ++t) {
        bytes.advance(tile, t, [&](int at, int value) {
            const int half = at / Bytes::kRowBytes * 2 * kRowWords + at % Bytes::kRowBytes;
            halves[half] = half_of(value);
            // The copy for odd columns is shifted: its half h is half h + 1 of the first copy.
            if (half > 0) halves[2 * kCopyStride + half - 1] = half_of(value);
        });
        __syncthreads();

        float sum = 0;
#pragma unroll 1
        for (int group = 0; group < kGroups; ++group) {
            const int index = warp * kGroups + group;
            const int row = index / (kColumns / kPixels);
            const int column = index % (kColumns / kPixels) * kPixels + g;
            // The words of pixels `column` and `column + 8` are in the same copy, 12 words apart.
            const unsigned* taps = difference + row * kRowWords + 3 * column / 2 + (column % 2 ? kCopyStride : 0);
            float d[4] = {};
#pragma unroll
            for (int step = 0; step < kSteps; ++step) {
                unsigned a[4];
#pragma unroll
                for (int part = 0; part < 2; ++part) {
                    const int word = 2 * step + part;
                    const int offset = word < kWordsAhead ? word / 2 * kRowWords + word % 2 * 4 + i
                                                          : tail + (word - kWordsAhead) * tail_stride;
                    a[2 * part] = taps[offset];
                    a[2 * part + 1] = taps[offset + 12];
                }
                multiply_add(d, a, weights[step]);
            }
            float upper = d[0] * d[0] + d[1] * d[1], lower = d[2] * d[2] + d[3] * d[3];
            for (int lanes = 1; lanes < 4; lanes *= 2) {
                upper += __shfl_xor_sync(kAllLanes, upper, lanes);
                lower += __shfl_xor_sync(kAllLanes, lower, lanes);
            }
            if (i == 0 && tile.top + row < tile.video.height) {
                if (tile.left + column < tile.video.width) sum += sqrtf(upper);
                if (tile.left + column + 8 < tile.video.width) sum += sqrtf(lower);
            }
        }
        add_motion<kThreads>(sum, units, motion + tile.video.first + t, warp_sums);
        // The barrier in add_motion also separates the reads of this frame's tile from the writes of the next one.
    }
}
