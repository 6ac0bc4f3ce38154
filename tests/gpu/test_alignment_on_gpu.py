"""The alignment loss on the GPU: the oracle, bits, streams, graphs, refusal."""

import subprocess
import sys

import pytest
import torch

from mflag import backends
from mflag.ops import alignment_loss
from tests.oracles.alignment import value_and_gradients

pytestmark = pytest.mark.gpu
BACKENDS = [name for name in ("cuda", "triton", "reference") if backends()[name] is True]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
KERNELS = [name for name in BACKENDS if name != "reference"]


def embeddings(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).cuda()


def results_of(z_a, z_t, backend, index=None):
    return torch.ops.mflag.alignment(z_a, z_t, index, 2.0, True, index is None, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (3, 37), (128, 768), (33, 4097), (5000, 64)], ids=str)
def test_pairs_match_the_oracle(backend, dtype, shape):
    z_a, z_t = embeddings(*shape, dtype=dtype), embeddings(*shape, dtype=dtype, seed=1)
    exact = value_and_gradients(z_a.cpu().double(), z_t.cpu().double(), 2.0)
    tolerance = 1e-13 if dtype == torch.float64 else 4e-7
    whole = 4 / shape[0] / z_a.cpu().double().norm(dim=1).clamp(min=1e-12).norm()
    for ours, right in zip(results_of(z_a, z_t, backend), exact, strict=True):
        allowed = tolerance * max(right.norm(), whole if right.ndim else 0)
        assert (ours.cpu().double() - right).norm() <= allowed


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("columns", [768, 770, 771])  # 16 bytes, 4 bytes, nothing aligned
@pytest.mark.parametrize("table_dtype", DTYPES, ids=str)
def test_rows_of_a_table_match_the_oracle(backend, columns, table_dtype):
    z_a, table = embeddings(128, columns), embeddings(1000, columns, seed=1).to(table_dtype)
    rows = (torch.arange(128) * 37 % 1000).cuda()
    loss, gradient, _ = results_of(z_a, table, backend, rows)
    exact = value_and_gradients(z_a.cpu().double(), table[rows].cpu().double(), 2.0)
    assert float(loss) == pytest.approx(float(exact[0]), rel=4e-7)
    assert (gradient.cpu() - exact[1]).norm() <= 4e-7 * exact[1].norm()


@pytest.mark.parametrize("backend", KERNELS)
def test_nearly_equal_rows_keep_the_digits_of_their_gradient(backend):
    z_a = embeddings(128, 768)
    z_t = z_a + 1e-6 * embeddings(128, 768, seed=1)
    exact = value_and_gradients(z_a.cpu().double(), z_t.cpu().double(), 2.0)
    ours = results_of(z_a, z_t, backend)
    assert (ours[1].cpu() - exact[1]).norm() <= 2e-7 * exact[1].norm()


@pytest.mark.parametrize("backend", KERNELS)
@pytest.mark.parametrize("shape", [(128, 768), (5000, 768)], ids=str)
def test_the_same_bits_a_hundred_times(backend, shape):
    z_a, z_t = embeddings(*shape), embeddings(*shape, seed=1)
    first = results_of(z_a, z_t, backend)
    for _ in range(100):
        again = results_of(z_a, z_t, backend)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("backend", KERNELS)
def test_two_streams_do_not_share_a_counter(backend):
    z = [(embeddings(512, 768, seed=i), embeddings(512, 768, seed=i + 2)) for i in range(2)]
    alone = [results_of(*pair, backend)[0] for pair in z]
    streams = [torch.cuda.Stream() for _ in z]
    torch.cuda.synchronize()
    for _ in range(50):
        together = []
        for pair, stream in zip(z, streams, strict=True):
            with torch.cuda.stream(stream):
                together.append(results_of(*pair, backend)[0])
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("backend", KERNELS)
def test_a_graph_replays_the_loss_for_new_values(backend):
    z_a, table = embeddings(128, 768), embeddings(1000, 768, seed=1).half()
    rows = torch.arange(128).cuda()
    results_of(z_a, table, backend, rows)  # what is compiled at first use
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = results_of(z_a, table, backend, rows)
    for seed in (2, 3):
        z_a.copy_(embeddings(128, 768, seed=seed))
        graph.replay()
        expected = results_of(z_a, table, backend, rows)
        assert all(torch.equal(a, b) for a, b in zip(captured, expected, strict=True))


@pytest.mark.parametrize("backend", KERNELS)
def test_the_call_does_not_wait_for_the_device(backend):
    z_a, table = embeddings(128, 768), embeddings(1000, 768, seed=1).half()
    rows = torch.arange(128).cuda()
    alignment_loss(z_a, table, rows, backend=backend)
    torch.cuda.set_sync_debug_mode("error")
    try:
        alignment_loss(z_a, table, rows, backend=backend)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", [-1, 9])
def test_an_index_outside_of_the_table_stops_the_device(backend, wrong):
    program = (
        "import torch; from mflag.ops import alignment_loss; "
        f"x = torch.ones(9, 4).cuda(); rows = torch.tensor([8, {wrong}]).cuda(); "
        f"print(alignment_loss(x[:2], x, rows, backend={backend!r}).item())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode != 0 and "outside of the table" in run.stdout + run.stderr
