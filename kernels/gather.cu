// Copies the picked frames of each video to one contiguous clip.
//
// Bound by memory bandwidth: each picked frame is read once and written once, 3 bytes per pixel each.

#include "video.cuh"

namespace {

constexpr int kThreads = 256;

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

}  // namespace

// Grid: x divides the bytes of a frame, y counts the picks, z the videos. clips[v] is [gridDim.y, rows, columns, 3].
extern "C" __global__ void __launch_bounds__(kThreads)
    gather_frames(const Video* videos, const long long* picks, unsigned char* const* clips) {
    const Video video = load_video(videos, blockIdx.z);
    const long long bytes = video.frame_bytes();
    const unsigned char* from = video.frames + picks[static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y] * bytes;
    unsigned char* to = clips[blockIdx.z] + blockIdx.y * bytes;
    const unsigned long long alignment =
        reinterpret_cast<unsigned long long>(from) | reinterpret_cast<unsigned long long>(to) | bytes;
    if (alignment % 16 == 0) {
        copy<uint4>(from, to, bytes);
    } else if (alignment % 4 == 0) {
        copy<unsigned>(from, to, bytes);
    } else {
        copy<unsigned char>(from, to, bytes);
    }
}
