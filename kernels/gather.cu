// Copies the picked frames of each video to one contiguous clip, and corrects their colours.
//
// A clip has the stored size of the frames. Its pixels outside the visible part repeat the nearest visible pixel, so that
// a resize that reads beyond the edge of the visible part gives the same as one that repeats the pixels at the edge.
//
// Bound by memory bandwidth: each picked frame is read once and written once, 3 bytes per pixel each.

#include "video.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kPixels = 4;                   // per thread, if pixels are changed: 12 bytes, which are three words
constexpr int kBytes = 3 * kPixels;
constexpr int kWords = kBytes / 4;

template <class Element>
__device__ __forceinline__ void copy(const unsigned char* from, unsigned char* to, long long bytes) {
    const Element* source = reinterpret_cast<const Element*>(from);
    Element* target = reinterpret_cast<Element*>(to);
    const long long count = bytes / static_cast<long long>(sizeof(Element));
    const long long stride = static_cast<long long>(gridDim.x) * kThreads;
    for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride) {
        target[i] = __ldg(source + i);
    }
}

// A matrix that is applied to (R, G, B).
struct Colours {
    float rows[3][3];
    bool identity = true;

    // Without a matrix, colours stay unchanged.
    __device__ explicit Colours(const float* matrix) {
#pragma unroll
        for (int i = 0; i < 9; ++i) {
            const float unchanged = i % 4 == 0 ? 1.0f : 0.0f;
            rows[i / 3][i % 3] = matrix ? __ldg(matrix + i) : unchanged;
            identity &= rows[i / 3][i % 3] == unchanged;
        }
    }

    // Rounds to the nearest integer, and halves to the even one. Products and sums are rounded one by one, as in NumPy.
    __device__ __forceinline__ unsigned channel(int i, float red, float green, float blue) const {
        const float sum = __fadd_rn(__fadd_rn(__fmul_rn(rows[i][0], red), __fmul_rn(rows[i][1], green)),
                                    __fmul_rn(rows[i][2], blue));
        return min(max(__float2int_rn(sum), 0), 255);
    }

    __device__ __forceinline__ void apply(unsigned char (&pixel)[3]) const {
        const float red = pixel[0], green = pixel[1], blue = pixel[2];
#pragma unroll
        for (int i = 0; i < 3; ++i) pixel[i] = static_cast<unsigned char>(channel(i, red, green, blue));
    }
};

// Copies a frame with changes. A thread processes kPixels adjacent pixels of a row at a time.
// words: whether every row of the frame begins at a multiple of 4 bytes, in both places.
__device__ __forceinline__ void change(const Video& video, const Colours& colours, const unsigned char* from,
                                       unsigned char* to, bool words) {
    const int per_row = (video.columns + kPixels - 1) / kPixels;
    const int count = per_row * video.rows;
    for (int i = blockIdx.x * kThreads + threadIdx.x; i < count; i += gridDim.x * kThreads) {
        const int row = i / per_row, column = i % per_row * kPixels;
        const int right = video.left + video.width;
        const int source_row = min(max(row, video.top), video.top + video.height - 1);
        const unsigned char* source = from + source_row * video.row_bytes();
        unsigned char* target = to + row * video.row_bytes() + 3 * column;
        const bool whole = words && column + kPixels <= video.columns;
        unsigned char pixels[kPixels][3];
        if (whole && column >= video.left && column + kPixels <= right) {
#pragma unroll
            for (int word = 0; word < kWords; ++word) {
                const unsigned value = __ldg(reinterpret_cast<const unsigned*>(source + 3 * column) + word);
#pragma unroll
                for (int k = 0; k < 4; ++k) pixels[(4 * word + k) / 3][(4 * word + k) % 3] = value >> (8 * k) & 255u;
            }
        } else {
#pragma unroll
            for (int pixel = 0; pixel < kPixels; ++pixel) {
                const unsigned char* nearest = source + 3 * min(max(column + pixel, video.left), right - 1);
#pragma unroll
                for (int k = 0; k < 3; ++k) pixels[pixel][k] = __ldg(nearest + k);
            }
        }
        if (!colours.identity) {
#pragma unroll
            for (int pixel = 0; pixel < kPixels; ++pixel) colours.apply(pixels[pixel]);
        }
        if (whole) {
#pragma unroll
            for (int word = 0; word < kWords; ++word) {
                unsigned value = 0;
#pragma unroll
                for (int k = 0; k < 4; ++k) {
                    value |= static_cast<unsigned>(pixels[(4 * word + k) / 3][(4 * word + k) % 3]) << (8 * k);
                }
                reinterpret_cast<unsigned*>(target)[word] = value;
            }
        } else {
#pragma unroll
            for (int k = 0; k < kBytes; ++k) {
                if (column + k / 3 < video.columns) target[k] = pixels[k / 3][k % 3];
            }
        }
    }
}

}  // namespace

// Grid: x divides the bytes of a frame, y counts the picks, z the videos. clips[v] is [gridDim.y, rows, columns, 3].
// colours: [videos, 9], a matrix in row order for each video; or null, which leaves the colours unchanged.
// A pick outside the video is limited to its frames, so that it causes no reads outside them.
extern "C" __global__ void __launch_bounds__(kThreads)
    gather_frames(const Video* videos, const long long* picks, const float* colours, unsigned char* const* clips) {
    const Video video = load_video(videos, blockIdx.z);
    const long long picked = picks[static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y];
    const long long pick = min(max(picked, 0ll), video.num_frames - 1ll);
    const long long bytes = video.frame_bytes();
    const unsigned char* from = video.frames + pick * bytes;
    unsigned char* to = clips[blockIdx.z] + blockIdx.y * bytes;
    const unsigned long long alignment = reinterpret_cast<unsigned long long>(from) | reinterpret_cast<unsigned long long>(to);
    const Colours own(colours ? colours + 9ll * blockIdx.z : nullptr);
    const bool whole = video.height == video.rows && video.width == video.columns;
    if (!whole || !own.identity) {
        change(video, own, from, to, (alignment | video.row_bytes()) % 4 == 0);
    } else if ((alignment | bytes) % 16 == 0) {
        copy<uint4>(from, to, bytes);
    } else if ((alignment | bytes) % 4 == 0) {
        copy<unsigned>(from, to, bytes);
    } else {
        copy<unsigned char>(from, to, bytes);
    }
}
