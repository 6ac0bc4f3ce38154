"""One call of every launch, for compute-sanitizer.

compute-sanitizer --tool racecheck python -m tests.gpu.sanitized_orthogonality
"""

import torch

from mflag.ops import barlow_twins_loss, orthogonality_loss

SHAPES = [(5, 37), (100, 300), (200, 301), (260, 270), (70, 40)]


def main() -> None:
    torch.manual_seed(0)
    for shape in SHAPES:
        for norm in ("none", "center", "sample", "feature", "standardize"):
            for weight in (1.0, 0.3):
                for dtype in (torch.float32, torch.bfloat16, torch.float16):
                    z = torch.randn(shape).to("cuda", dtype).requires_grad_()
                    orthogonality_loss(z, norm=norm, offdiag_weight=weight, backend="cuda")
        z_a, z_b = (torch.randn(shape).cuda().requires_grad_() for _ in range(2))
        barlow_twins_loss(z_a, z_b, backend="cuda")
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
