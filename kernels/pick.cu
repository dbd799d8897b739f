// Computes picks from motion, in float64. The picks are equal to those of mgdali.sampling for the same motion rounded
// to float32. One block processes one video.
//
// Bound by the latency of one addition per frame in a single thread, or of two if even > 0. A float64 sum depends on
// the order of its terms, and the reference adds them from first to last. The other work is divided among the threads
// of the block.

#include "video.cuh"

namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 1024;

// Returns S rounded as in an index file, so that picks are the same with and without an index: first to double, as in
// NumPy, then to float.
__device__ __forceinline__ float rounded_motion(unsigned long long count, double unit) {
    return static_cast<float>(static_cast<double>(count) * unit);
}

__device__ __forceinline__ double weight(double motion, double mu) {
    // As in NumPy's power operator, exponents with an exact result do not use pow.
    if (mu == 0.0) return 1.0;
    if (mu == 0.5) return sqrt(motion);
    if (mu == 1.0) return motion;
    if (mu == 2.0) return motion * motion;
    return pow(motion, mu);
}

// Returns values[0] + ... + values[count - 1], added from first to last, to all threads. If `replace` is true, it also
// replaces values[t] by values[0] + ... + values[t].
__device__ double cumulate(double* values, int count, bool replace = true) {
    __shared__ double chunk[kChunk];
    double sum = 0;
    for (int start = 0; start < count; start += kChunk) {
        const int size = min(kChunk, count - start);
        for (int i = threadIdx.x; i < size; i += kThreads) chunk[i] = values[start + i];
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int i = 0; i < size; ++i) {
                sum += chunk[i];
                chunk[i] = sum;
            }
        }
        __syncthreads();
        if (replace) {
            for (int i = threadIdx.x; i < size; i += kThreads) values[start + i] = chunk[i];
        }
        sum = chunk[size - 1];
        __syncthreads();
    }
    return sum;
}

// Replaces each weight w by w * (T / sum(w) * (1 - even)) + even. The share `even`, in (0, 1], is thus spread evenly
// over all frames.
__device__ void spread(double* weights, int count, double even) {
    const double sum = cumulate(weights, count, false);
    const double scale = count / sum * (1.0 - even);
    for (int t = threadIdx.x; t < count; t += kThreads) {
        // Rounded after the multiplication too, as in NumPy: no fused multiply-add.
        weights[t] = __dadd_rn(__dmul_rn(weights[t], scale), even);
    }
}

// Returns the first t in [0, count) with holds(t), or count if there is no such t. If holds(t) is true, it must be true
// for all later t too.
template <class Holds>
__device__ __forceinline__ int first_that(int count, Holds holds) {
    int low = 0, high = count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (holds(middle)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

__device__ double sum_up_to_128(const double* values, int count) {
    if (count < 8) {
        double sum = 0;
        for (int i = 0; i < count; ++i) sum += values[i];
        return sum;
    }
    double sums[8];
#pragma unroll
    for (int k = 0; k < 8; ++k) sums[k] = values[k];
    int i = 8;
    for (; i + 8 <= count; i += 8) {
#pragma unroll
        for (int k = 0; k < 8; ++k) sums[k] += values[i + k];
    }
    double sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; i < count; ++i) sum += values[i];
    return sum;
}

// Returns the sum in NumPy's order: halves are summed recursively, down to pieces of 128 values.
__device__ double pairwise_sum(const double* values, int count) {
    constexpr int kDepth = 26;
    int starts[kDepth], counts[kDepth];
    double lefts[kDepth];
    bool has_left[kDepth];
    int depth = 0;
    starts[0] = 0;
    counts[0] = count;
    while (true) {
        // Descend along left halves to a piece. Then add its sum to the left halves that it completes.
        while (counts[depth] > 128) {
            const int half = counts[depth] / 2 / 8 * 8;
            has_left[depth] = false;
            starts[depth + 1] = starts[depth];
            counts[depth + 1] = half;
            ++depth;
        }
        double sum = sum_up_to_128(values + starts[depth], counts[depth]);
        while (depth > 0 && has_left[depth - 1]) {
            --depth;
            sum = lefts[depth] + sum;
        }
        if (depth == 0) return sum;
        const int parent = depth - 1;
        const int half = counts[parent] / 2 / 8 * 8;
        lefts[parent] = sum;
        has_left[parent] = true;
        starts[depth] = starts[parent] + half;
        counts[depth] = counts[parent] - half;
    }
}

// Returns the index of the cumulative share that is closest to the level; the first one if several are equally close.
__device__ int nearest(const double* shares, int count, double level) {
    // Shares are in ascending order, so the closest is either the first at or above the level or the last below it.
    const int above = first_that(count, [&](int t) { return shares[t] >= level; });
    double distance = above < count ? shares[above] - level : level - shares[count - 1];
    if (above > 0) distance = fmin(distance, level - shares[above - 1]);
    return first_that(count, [&](int t) { return shares[t] >= level || level - shares[t] <= distance; });
}

}  // namespace

// Computes motion-guided picks (Eq. 4 to 6).
// motion: [frames of the batch], in units of `unit`. offsets: [videos, num_picks]. scratch: [frames of the batch].
// picks: [videos, num_picks]. even: share of the distribution that is spread evenly over time, in [0, 1].
// released_rule: whether to use the rule of the authors' released code (inverse="nearest").
extern "C" __global__ void __launch_bounds__(kThreads)
    pick_motion_guided(const Video* videos, const unsigned long long* motion, double unit, double mu, double even,
                       int released_rule, const double* offsets, int num_picks, double* scratch, long long* picks) {
    const Video video = videos[blockIdx.x];
    const int count = video.num_frames;
    const unsigned long long* own = motion + video.first;
    double* values = scratch + video.first;

    // The released rule uses only the differences, without the value of frame 0. With even > 0 this value has an
    // effect, because the share is spread over all frames first.
    const int first = released_rule && even == 0.0 ? 1 : 0;
    int any = 0;
    for (int t = threadIdx.x; t < count; t += kThreads) {
        values[t] = weight(rounded_motion(own[t], unit), mu);
        any |= values[t] != 0.0 && t >= first;
    }
    // A video without motion is sampled evenly.
    if (!__syncthreads_or(any)) {
        for (int t = threadIdx.x; t < count; t += kThreads) values[t] = 1.0;
    } else if (even != 0.0) {
        spread(values, count, even);
    }
    __syncthreads();

    const double* own_offsets = offsets + static_cast<long long>(blockIdx.x) * num_picks;
    long long* own_picks = picks + static_cast<long long>(blockIdx.x) * num_picks;
    if (released_rule) {
        double* shares = values + 1;
        const int differences = count - 1;
        __shared__ double sum;
        if (threadIdx.x == 0) sum = pairwise_sum(shares, differences);
        __syncthreads();
        for (int t = threadIdx.x; t < differences; t += kThreads) shares[t] /= sum;
        __syncthreads();
        cumulate(shares, differences);
        for (int i = threadIdx.x; i < num_picks; i += kThreads) {
            own_picks[i] = differences ? nearest(shares, differences, (i + own_offsets[i]) / num_picks) : 0;
        }
    } else {
        const double total = cumulate(values, count);
        for (int i = threadIdx.x; i < num_picks; i += kThreads) {
            const double level = (i + own_offsets[i]) * total / num_picks;
            // With an offset just below 1, the level may round up to the total, and no value exceeds the total. If S^mu
            // has overflowed, values are NaN, which is not below the total either. So the pick stays in the video.
            own_picks[i] = first_that(count, [&](int t) { return !(values[t] <= level && values[t] < total); });
        }
    }
}

// Picks the frames of largest motion, in temporal order. Of frames with equal motion, earlier ones are picked first.
// motion: [frames of the batch], in units of `unit`. picks: [videos, num_picks].
extern "C" __global__ void __launch_bounds__(kThreads)
    pick_top_motion(const Video* videos, const unsigned long long* motion, double unit, int num_picks,
                    long long* picks) {
    const Video video = videos[blockIdx.x];
    const int count = video.num_frames;
    const unsigned long long* own = motion + video.first;
    long long* own_picks = picks + static_cast<long long>(blockIdx.x) * num_picks;
    if (count < num_picks) {
        for (int i = threadIdx.x; i < num_picks; i += kThreads) {
            own_picks[i] = (2ll * i + 1) * count / (2ll * num_picks);
        }
        return;
    }
    // The bits of floats that are not negative have the same order as the values.
    const auto bits = [&](int t) { return __float_as_uint(rounded_motion(own[t], unit)); };
    // The least motion that is picked is the largest value that num_picks frames reach. It is found bit by bit, from
    // the highest bit down.
    unsigned least = 0;
    for (int bit = 30; bit >= 0; --bit) {
        const unsigned candidate = least | 1u << bit;
        int reached = 0;
        for (int start = 0; start < count; start += kThreads) {
            const int t = start + threadIdx.x;
            reached += __syncthreads_count(t < count && bits(t) >= candidate);
        }
        if (reached >= num_picks) least = candidate;
    }
    int above = 0;
    for (int start = 0; start < count; start += kThreads) {
        const int t = start + threadIdx.x;
        above += __syncthreads_count(t < count && bits(t) > least);
    }
    // Picks in temporal order: all frames above the least motion, and the first frames with exactly the least motion
    // until num_picks are found.
    if (threadIdx.x == 0) {
        int ties = num_picks - above, next = 0;
        for (int t = 0; t < count && next < num_picks; ++t) {
            const unsigned own_bits = bits(t);
            if (own_bits > least || (own_bits == least && ties-- > 0)) own_picks[next++] = t;
        }
    }
}
