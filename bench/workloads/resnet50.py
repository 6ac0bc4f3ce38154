"""The shapes of ResNet-50's parameters, without torchvision."""

STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))  # blocks, width


def _shapes() -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    inputs = 64
    for blocks, width in STAGES:
        for block in range(blocks):
            wide = 4 * width
            for shape in ((width, inputs, 1, 1), (width, width, 3, 3), (wide, width, 1, 1)):
                shapes += [shape, shape[:1], shape[:1]]
            if block == 0:  # the way around it
                shapes += [(wide, inputs, 1, 1), (wide,), (wide,)]
            inputs = wide
    return [*shapes, (1000, inputs), (1000,)]


PARAMETER_SHAPES = _shapes()
