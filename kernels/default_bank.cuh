// The default filter bank as separable filters of one plane: the output of
// `python -m mgdali.gpu.feature_filters`.
#pragma once

#define MGDALI_BANK
namespace bank {
constexpr int kRows = 3;
constexpr int kFilters = 5;
constexpr int kOutputs = 5;
constexpr bool kPlaneIsBytes = true;
__device__ constexpr int kPlane[3] = {77, 150, 29};
__device__ constexpr float kRow[kRows][7] = {
    {0.4937895f, 1.0f, 0.973867f, 0.0f, -0.973867f, -1.0f, -0.4937895f},
    {0.13533528f, 0.41111228f, 0.8007374f, 1.0f, 0.8007374f, 0.41111228f, 0.13533528f},
    {-0.47885484f, -0.41810763f, 0.39696243f, 1.0f, 0.39696243f, -0.41810763f, -0.47885484f},
};
__device__ constexpr int kRowOf[kFilters] = {0, 0, 1, 1, 2};
__device__ constexpr float kColumn[kFilters][7] = {
    {0.11036482f, 0.33525872f, 0.6529948f, 0.81549186f, 0.6529948f, 0.33525872f, 0.11036482f},
    {0.20292994f, 0.41096452f, 0.40022478f, 0.0f, -0.40022478f, -0.41096452f, -0.20292994f},
    {0.40268132f, 0.81549186f, 0.79418063f, 0.0f, -0.79418063f, -0.81549186f, -0.40268132f},
    {-0.47885484f, -0.41810763f, 0.39696243f, 1.0f, 0.39696243f, -0.41810763f, -0.47885484f},
    {0.12608711f, 0.38301882f, 0.7460188f, 0.9316647f, 0.7460188f, 0.38301882f, 0.12608711f},
};
__device__ constexpr float kMixing[kOutputs][kFilters] = {
    {1.0f, 0.0f, 0.0f, 0.0f, 0.0f},
    {0.0f, 1.0f, 0.0f, 0.0f, 0.0f},
    {0.0f, 0.0f, 1.0f, 0.0f, 0.0f},
    {0.0f, 0.0f, 0.0f, 1.0f, 0.38996765f},
    {0.0f, 0.0f, 0.0f, 0.0f, 1.0f},
};
}
