"""What the GPU kernels take, by compiling them for GPUs that are not here."""
