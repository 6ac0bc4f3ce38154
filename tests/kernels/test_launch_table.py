"""The table of launches follows what the Triton that is here can compile."""

import pytest

triton = pytest.importorskip("triton", reason="triton is not installed")


@pytest.mark.parametrize("version, least", [("3.6.0", 16), ("3.7.1+git5d6048aa", 16), ("3.8.0", 8)])
@pytest.mark.parametrize("scales_rows", [False, True])
@pytest.mark.parametrize("rows", [1, 128, 256])
@pytest.mark.parametrize("capability", [75, 80, 90, 120])
def test_products_are_as_deep_as_this_triton_wants(
    capability, rows, scales_rows, version, least, monkeypatch
):
    from mflag.kernels.launch_table import orthogonality_dual_row

    monkeypatch.setattr(triton, "__version__", version)
    row = orthogonality_dual_row(capability, rows, scales_rows)
    assert min(row.depth, row.step) >= least and row.side % row.depth == 0
