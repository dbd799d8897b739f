// Computes image-level motion (Eq. 1): S[t] = sum |Y[t] - Y[t-1]|, over luma or over R, G and B, in integers.
//
// Bound by memory bandwidth: each frame is read from memory once, 3 bytes per pixel. A thread processes the same pixels
// of all frames in order, and keeps those of the previous frame in registers. It does about 1.5 (luma) or 2 (RGB)
// integer operations per byte.

#include "video.cuh"

namespace {

constexpr int kThreads = 128;
constexpr int kPixels = 16;                 // per thread: 48 bytes, which are three loads of 16 bytes
constexpr int kWords = kPixels * 3 / 4;
constexpr int kFramesAtOnce = 32;           // sums collected in shared memory before they are added to global memory

// Returns byte `i` of the words.
__device__ __forceinline__ unsigned byte_of(const unsigned (&words)[kWords], int i) {
    return __byte_perm(words[i / 4], 0, 0x4440 + i % 4);
}

struct Luma {
    unsigned values[kPixels];

    __device__ __forceinline__ void set(const unsigned (&words)[kWords]) {
        // 77 R + 150 G + 29 B. The fourth byte, which belongs to the next pixel, has weight 0.
        constexpr unsigned weights = 77u | 150u << 8 | 29u << 16;
#pragma unroll
        for (int i = 0; i < kPixels; ++i) {
            const int first = 3 * i;
            const int word = first / 4;
            const unsigned next = word + 1 < kWords ? words[word + 1] : 0u;
            const unsigned pixel = __funnelshift_r(words[word], next, 8 * (first % 4));
            values[i] = __dp4a(pixel, weights, 0u) >> 8;
        }
    }

    __device__ __forceinline__ unsigned difference(const Luma& other) const {
        unsigned sum = 0;
#pragma unroll
        for (int i = 0; i < kPixels; ++i) sum = __usad(values[i], other.values[i], sum);
        return sum;
    }
};

struct Rgb {
    unsigned words[kWords];

    __device__ __forceinline__ void set(const unsigned (&from)[kWords]) {
#pragma unroll
        for (int i = 0; i < kWords; ++i) words[i] = from[i];
    }

    __device__ __forceinline__ unsigned difference(const Rgb& other) const {
        unsigned sum = 0;
#pragma unroll
        for (int i = 0; i < 4 * kWords; ++i) sum = __usad(byte_of(words, i), byte_of(other.words, i), sum);
        return sum;
    }
};

// Reads a thread's pixels, which have the same position in all frames of a video. Only the alignment may differ.
struct Reader {
    const unsigned char* frames;
    const unsigned char* end;     // end of the video's last frame
    long long frame_bytes;
    long long first_byte;         // position of the thread's pixels within a frame
    int count;                    // number of the thread's pixels: kPixels, fewer at the frame's end, or 0
    bool vectors;                 // whether the pixels are aligned to 16 bytes in every frame

    __device__ Reader(const Video& video, int group) {
        const long long pixels = static_cast<long long>(video.height) * video.width;
        frames = video.frames;
        frame_bytes = 3 * pixels;
        end = frames + frame_bytes * video.num_frames;
        first_byte = 3ll * kPixels * group;
        const long long left = pixels - static_cast<long long>(kPixels) * group;
        count = left < 0 ? 0 : left < kPixels ? static_cast<int>(left) : kPixels;
        vectors = ((reinterpret_cast<unsigned long long>(frames) | static_cast<unsigned long long>(frame_bytes)) & 15) == 0;
    }

    // Reads the thread's pixels of frame t. If there are fewer than kPixels, the rest is 0.
    __device__ __forceinline__ void read(int t, unsigned (&words)[kWords]) const {
        const unsigned char* from = frames + t * frame_bytes + first_byte;
        if (count == kPixels && vectors) {
            const uint4* quads = reinterpret_cast<const uint4*>(from);
#pragma unroll
            for (int i = 0; i < kWords / 4; ++i) {
                const uint4 quad = __ldg(quads + i);
                words[4 * i] = quad.x;
                words[4 * i + 1] = quad.y;
                words[4 * i + 2] = quad.z;
                words[4 * i + 3] = quad.w;
            }
        } else if (count == kPixels && from >= frames + 3 && from + sizeof(words) + 3 <= end) {
            read_shifted(from, words);
        } else {
            read_bytes(from, words);
        }
    }

private:
    // Reads from any address in whole words: the aligned words around it are loaded and shifted.
    __device__ __forceinline__ static void read_shifted(const unsigned char* from, unsigned (&words)[kWords]) {
        const unsigned past = reinterpret_cast<unsigned long long>(from) & 3;
        const unsigned* aligned = reinterpret_cast<const unsigned*>(from - past);
        unsigned low = __ldg(aligned);
#pragma unroll
        for (int i = 0; i < kWords; ++i) {
            // Without a shift, the word after the last is not needed, and may be outside the video.
            const unsigned high = i + 1 < kWords || past ? __ldg(aligned + i + 1) : 0u;
            words[i] = __funnelshift_r(low, high, 8 * past);
            low = high;
        }
    }

    __device__ __forceinline__ void read_bytes(const unsigned char* from, unsigned (&words)[kWords]) const {
#pragma unroll
        for (int i = 0; i < kWords; ++i) words[i] = 0;
#pragma unroll
        for (int i = 0; i < 3 * kPixels; ++i) {
            if (i < 3 * count) words[i / 4] |= static_cast<unsigned>(__ldg(from + i)) << (8 * (i % 4));
        }
    }
};

// Grid: x covers the pixels of the largest frame, y counts the videos.
// motion: [frames of the batch]. Must be 0 before the launch.
template <class Pixels>
__device__ __forceinline__ void image_difference(const Video* videos, unsigned long long* motion) {
    const Video video = load_video(videos, blockIdx.y);
    const long long groups = (static_cast<long long>(video.height) * video.width + kPixels - 1) / kPixels;
    if (static_cast<long long>(blockIdx.x) * kThreads >= groups) return;

    __shared__ unsigned sums[kFramesAtOnce];
    if (threadIdx.x < kFramesAtOnce) sums[threadIdx.x] = 0;
    __syncthreads();

    const Reader reader(video, blockIdx.x * kThreads + threadIdx.x);
    unsigned words[kWords];
    Pixels before, now;
    reader.read(0, words);
    before.set(words);
    if (video.num_frames > 1) reader.read(1, words);
    for (int t = 1; t < video.num_frames; ++t) {
        now.set(words);
        // The next frame is loaded while this one is summed.
        if (t + 1 < video.num_frames) reader.read(t + 1, words);
        const unsigned sum = warp_sum(now.difference(before));
        before = now;
        if (threadIdx.x % kWarp == 0) atomicAdd(&sums[t % kFramesAtOnce], sum);
        if (t % kFramesAtOnce == kFramesAtOnce - 1 || t + 1 == video.num_frames) {
            __syncthreads();
            if (threadIdx.x <= t % kFramesAtOnce) {
                atomicAdd(&motion[video.first + t - t % kFramesAtOnce + threadIdx.x],
                          static_cast<unsigned long long>(sums[threadIdx.x]));
                sums[threadIdx.x] = 0;
            }
            __syncthreads();
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kThreads)
    image_difference_luma(const Video* videos, unsigned long long* motion) {
    image_difference<Luma>(videos, motion);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    image_difference_rgb(const Video* videos, unsigned long long* motion) {
    image_difference<Rgb>(videos, motion);
}
