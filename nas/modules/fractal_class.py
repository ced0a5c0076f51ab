"""Class of fractal blocks in exported files: the convolutions in loops over steps and columns."""

from nas.graph.ops import DropPathMean
from nas.modules.base import WrittenClass

INIT = """\
        super().__init__()
        self.columns = columns
        lengths = [1]  # of a convolution, in steps of the deepest column; by column
        for _ in range(columns - 1):
            lengths = [2 * lengths[0], *lengths]
        self.steps = nn.ModuleList()
        for step in range(1, lengths[0] + 1):
            convs = nn.ModuleList()  # those that end at this step, the deepest last
            for length in lengths:
                if step == length:
                    convs.append({first})
                elif step % length == 0:
                    convs.append({later})
            self.steps.append(convs)
"""
DROP_PATH = """\
        self.join = DropPathMean(columns, "{mode}")
"""
FORWARD = """
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        columns = [x] * self.columns
        for convs in self.steps:
            first = self.columns - len(convs)
            for i, conv in enumerate(convs, first):
                columns[i] = conv(columns[i])
            if len(convs) > 1:
                joined = self.join(columns[first:])
                columns = columns[:first] + [joined] * len(convs)
        return columns[-1]
"""
MEAN = """
    def join(self, columns: list[torch.Tensor]) -> torch.Tensor:
        total = columns[0]
        for x in columns[1:]:
            total = total + x
        return total / len(columns)
"""


def fractal_class(columns: int, drop_path: str) -> WrittenClass:
    """Return the class whose loops make and call the convolutions of `nas.modules.fractal.Fractal`.

    Args:
        columns: Number of columns; the deepest has `2 ** (columns - 1)` convolutions.
        drop_path: Field of this name of the module; with `none` joins are plain means.
    """
    parts = {"first": "steps.0.0", "later": "steps.1.1"}
    if drop_path == "none":
        return WrittenClass(INIT + FORWARD + MEAN, parts, ("columns",))
    text = INIT + DROP_PATH.format(mode=drop_path) + FORWARD
    return WrittenClass(text, parts, ("columns",), (DropPathMean(columns, drop_path),))
