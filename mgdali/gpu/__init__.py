"""The NVIDIA GPU: its driver, what its video decoder accepts, and the CUDA kernels that measure motion and pick."""
