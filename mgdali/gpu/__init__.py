"""The NVIDIA GPU: its driver, the limits of its video decoder, and the CUDA kernels that measure motion and pick."""
