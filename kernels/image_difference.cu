// Computes image-level motion (Eq. 1): S[t] = sum |Y[t] - Y[t-1]|, in integers: over the luma of RGB frames, over R, G
// and B, or over luma planes.
//
// Bound by memory bandwidth: each visible byte is read from memory once. A thread processes the same bytes of all frames
// in order, and keeps those of the previous frame in registers. It does about 1 (luma of RGB) or 0.3 integer operations
// per byte, and 0.8 more if the frames are not aligned to 16 bytes. The sum of four absolute differences is one
// instruction from sm_75 to sm_100.

#include "video.cuh"

namespace {

constexpr int kThreads = 128;
constexpr int kBytes = 48;                  // per thread: 16 pixels of RGB, or 48 of a plane
constexpr int kWords = kBytes / 4;
constexpr int kQuadBytes = 16;
constexpr int kQuads = kBytes / kQuadBytes + 1;   // aligned quads that contain 48 bytes at any address
constexpr int kRawWords = 4 * kQuads;
constexpr int kFramesAtOnce = 32;           // sums collected in shared memory before they are added to global memory

// Luma of a thread's pixels, four in each word.
struct Luma {
    static constexpr int kLumaWords = kBytes / 3 / 4;
    unsigned words[kLumaWords];

    __device__ __forceinline__ void set(const unsigned (&rgb)[kWords]) {
        // 77 R + 150 G + 29 B. The fourth byte, which belongs to the next pixel, has weight 0.
        constexpr unsigned weights = 77u | 150u << 8 | 29u << 16;
#pragma unroll
        for (int i = 0; i < kLumaWords; ++i) {
            unsigned sums[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) {
                const int first = 3 * (4 * i + k);
                const int word = first / 4;
                const unsigned next = word + 1 < kWords ? rgb[word + 1] : 0u;
                sums[k] = __dp4a(__funnelshift_r(rgb[word], next, 8 * (first % 4)), weights, 0u);
            }
            // A sum has 16 bits, and luma is its upper byte.
            words[i] = __byte_perm(__byte_perm(sums[0], sums[1], 0x4451), __byte_perm(sums[2], sums[3], 0x4451), 0x5410);
        }
    }

    __device__ __forceinline__ unsigned difference(const Luma& other) const {
        unsigned sum = 0;
#pragma unroll
        for (int i = 0; i < kLumaWords; ++i) sum += __vsadu4(words[i], other.words[i]);
        return sum;
    }
};

struct Bytes {
    unsigned words[kWords];

    __device__ __forceinline__ void set(const unsigned (&from)[kWords]) {
#pragma unroll
        for (int i = 0; i < kWords; ++i) words[i] = from[i];
    }

    __device__ __forceinline__ unsigned difference(const Bytes& other) const {
        unsigned sum = 0;
#pragma unroll
        for (int i = 0; i < kWords; ++i) sum += __vsadu4(words[i], other.words[i]);
        return sum;
    }
};

// A thread's bytes of one frame, as they were loaded. The first byte is byte `past` of the words.
struct Raw {
    unsigned words[kRawWords];
    unsigned past;
};

// The visible bytes of a frame, divided into groups of kBytes. If rows are visible in their whole width, the frame is
// one run of bytes. Otherwise each row is a run, and its last group may have fewer bytes.
struct Groups {
    long long run_bytes;
    int per_run;
    int count;

    __device__ Groups(const Video& video, int pixel_bytes) {
        const bool whole_rows = video.width == video.columns;
        const int runs = whole_rows ? 1 : video.height;
        run_bytes = static_cast<long long>(pixel_bytes) * video.width * (whole_rows ? video.height : 1);
        per_run = static_cast<int>((run_bytes + kBytes - 1) / kBytes);
        count = runs * per_run;
    }
};

// Reads a thread's group, which has the same position in all frames of a video. Only the alignment may differ.
struct Reader {
    const unsigned char* from;    // the group in the frame that is loaded next
    long long frame_bytes;
    int bytes;                    // number of the thread's bytes: kBytes, fewer at the end of a run, or 0
    int safe_begin, safe_end;     // in these frames, the aligned quads that contain the group are in the video's memory

    __device__ Reader(const Video& video, int pixel_bytes, const Groups& groups, int group) {
        const int run = group / groups.per_run;
        const long long in_run = static_cast<long long>(kBytes) * (group % groups.per_run);
        frame_bytes = video.frame_bytes(pixel_bytes);
        from = video.visible(0, pixel_bytes) + run * video.row_bytes(pixel_bytes) + in_run;
        bytes = group < groups.count ? static_cast<int>(min(groups.run_bytes - in_run, static_cast<long long>(kBytes)))
                                     : 0;
        // The quads begin and end at most 15 bytes outside the group. More frames than one are unsafe at an end of the
        // memory only if frames have fewer bytes than that.
        constexpr int kOutside = kQuadBytes - 1;
        const int step = static_cast<int>(min(frame_bytes, static_cast<long long>(kOutside)));
        const long long before = from - video.frames;
        const long long after = frame_bytes - before - bytes;
        safe_begin = before < kOutside ? (kOutside - static_cast<int>(before) + step - 1) / step : 0;
        safe_end = video.num_frames - (after < kOutside ? (kOutside - static_cast<int>(after) + step - 1) / step : 0);
    }

    // Loads the aligned quads that contain the group in frame t, and moves on to the next frame. The quads are shifted
    // only when they are used, so that the thread does not wait for them here.
    __device__ __forceinline__ void load(int t, Raw& raw) {
        if (t >= safe_begin && t < safe_end) {
            raw.past = reinterpret_cast<unsigned long long>(from) % kQuadBytes;
            const uint4* quads = reinterpret_cast<const uint4*>(from - raw.past);
            const int needed = bytes ? raw.past + bytes : 0;
#pragma unroll
            for (int i = 0; i < kQuads; ++i) {
                uint4 quad = {0u, 0u, 0u, 0u};
                if (kQuadBytes * i < needed) quad = __ldg(quads + i);
                raw.words[4 * i] = quad.x;
                raw.words[4 * i + 1] = quad.y;
                raw.words[4 * i + 2] = quad.z;
                raw.words[4 * i + 3] = quad.w;
            }
        } else {
            raw.past = 0;
#pragma unroll
            for (int i = 0; i < kRawWords; ++i) raw.words[i] = 0;
#pragma unroll
            for (int i = 0; i < kBytes; ++i) {
                if (i < bytes) raw.words[i / 4] |= static_cast<unsigned>(__ldg(from + i)) << (8 * (i % 4));
            }
        }
        from += frame_bytes;
    }

    // Returns the group's bytes in `words`. If there are fewer than kBytes, the rest is 0.
    __device__ __forceinline__ void shift(Raw& raw, unsigned (&words)[kWords]) const {
        if (raw.past) {
            // Shifts by 8, by 4, and then by single bytes, because registers have no index.
#pragma unroll
            for (int i = 0; i < kWords + 2; ++i) raw.words[i] = raw.past & 8 ? raw.words[i + 2] : raw.words[i];
#pragma unroll
            for (int i = 0; i < kWords + 1; ++i) raw.words[i] = raw.past & 4 ? raw.words[i + 1] : raw.words[i];
#pragma unroll
            for (int i = 0; i < kWords; ++i) {
                raw.words[i] = __funnelshift_r(raw.words[i], raw.words[i + 1], 8 * (raw.past & 3));
            }
        }
#pragma unroll
        for (int i = 0; i < kWords; ++i) words[i] = raw.words[i];
        if (bytes < kBytes) {
#pragma unroll
            for (int i = 0; i < kWords; ++i) {
                // A shift by 32 or more gives 0.
                words[i] &= ~__funnelshift_lc(0u, ~0u, max(8 * (bytes - 4 * i), 0));
            }
        }
    }
};

// Grid: x covers the groups of the largest frame, y counts the videos.
// motion: [frames of the batch]. Must be 0 before the launch.
template <class Pixels, int kPixelBytes>
__device__ __forceinline__ void image_difference(const Video* videos, unsigned long long* motion) {
    const Video video = load_video(videos, blockIdx.y);
    const Groups groups(video, kPixelBytes);
    if (static_cast<int>(blockIdx.x) * kThreads >= groups.count || video.num_frames < 2) return;

    __shared__ unsigned sums[kFramesAtOnce];
    if (threadIdx.x < kFramesAtOnce) sums[threadIdx.x] = 0;
    __syncthreads();

    Reader reader(video, kPixelBytes, groups, blockIdx.x * kThreads + threadIdx.x);
    Raw raw;
    unsigned words[kWords];
    Pixels before, now;
    reader.load(0, raw);
    reader.shift(raw, words);
    before.set(words);
    reader.load(1, raw);
    for (int t = 1; t < video.num_frames; ++t) {
        reader.shift(raw, words);
        now.set(words);
        // The next frame is loaded while this one is summed.
        if (t + 1 < video.num_frames) reader.load(t + 1, raw);
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
    image_difference<Luma, 3>(videos, motion);
}

extern "C" __global__ void __launch_bounds__(kThreads)
    image_difference_rgb(const Video* videos, unsigned long long* motion) {
    image_difference<Bytes, 3>(videos, motion);
}

// The frames are luma planes, [num_frames, rows, columns].
extern "C" __global__ void __launch_bounds__(kThreads)
    image_difference_plane(const Video* videos, unsigned long long* motion) {
    image_difference<Bytes, 1>(videos, motion);
}
