"""What one multiprocessor holds, and how many blocks of a kernel fit on it."""

from typing import NamedTuple


class Architecture(NamedTuple):
    """Limits of one multiprocessor (CUDA C++ Programming Guide, table of compute capabilities)."""

    shared: int  # bytes
    shared_block: int  # most that one block can ask for
    registers: int = 65536
    warps: int = 64
    blocks: int = 32


ARCHITECTURES = {
    80: Architecture(shared=164 << 10, shared_block=163 << 10),
    90: Architecture(shared=228 << 10, shared_block=227 << 10),
}
RESERVED = 1024  # bytes of shared memory that the driver keeps for each block


def blocks_per_multiprocessor(registers: int, shared: int, threads: int, capability: int) -> int:
    """Return how many blocks fit, from registers, shared bytes and threads of one block."""
    limit = ARCHITECTURES[capability]
    warps = -(-threads // 32)
    # A warp gets registers in units of 256; each of the four schedulers holds a quarter of them.
    unit = -(-max(registers, 1) * 32 // 256) * 256
    by_registers = 4 * (limit.registers // 4 // unit) // warps
    by_shared = limit.shared // (-(-(shared + RESERVED) // 128) * 128)
    return min(by_registers, by_shared, limit.warps // warps, limit.blocks)
