"""Letters for pictures, drawn without fonts: a machine that trains may have none installed.

A line of text enters, an array of pixels leaves. It knows nothing of what is written.
"""

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 6, 8
#: The classic 5x7 letters of dot-matrix displays: five columns each, the lowest bit on top.
_COLUMNS = {
    " ": "0000000000",
    "(": "001c224100",
    ")": "0041221c00",
    "+": "08083e0808",
    ",": "0080703000",
    "-": "0808080808",
    ".": "0000606000",
    "/": "2010080402",
    ":": "0000140000",
    "0": "3e5149453e",
    "1": "00427f4000",
    "2": "7249494946",
    "3": "2141494d33",
    "4": "1814127f10",
    "5": "2745454539",
    "6": "3c4a494931",
    "7": "4121110907",
    "8": "3649494936",
    "9": "464949291e",
    "B": "7f49494936",
    "N": "7f0408107f",
    "P": "7f09090906",
    "R": "7f09192946",
    "S": "2649494932",
    "a": "2054547840",
    "b": "7f28444438",
    "c": "3844444428",
    "d": "384444287f",
    "e": "3854545418",
    "f": "00087e0902",
    "g": "18a4a49c78",
    "h": "7f08040478",
    "i": "00447d4000",
    "j": "2040403d00",
    "k": "7f10284400",
    "l": "00417f4000",
    "m": "7c04780478",
    "n": "7c08040478",
    "o": "3844444438",
    "p": "fc18242418",
    "q": "18242418fc",
    "r": "7c08040408",
    "s": "4854545424",
    "t": "04043f4424",
    "u": "3c4040207c",
    "v": "1c2040201c",
    "w": "3c4030403c",
    "x": "4428102844",
    "y": "4c9090907c",
    "z": "4464544c44",
}


def draw_text(text: str, scale: int) -> NDArray[np.bool_]:
    """Draw a line of text.

    Parameters
    ----------
    text : str
        A character without a drawing becomes a gap; capital letters other than those of PSNR and dB have none.
    scale : int
        Side in pixels of one dot.

    Returns
    -------
    ndarray, shape (8 * scale, 6 * scale * len(text)), bool
        True where there is ink.
    """
    columns = np.zeros((len(text), WIDTH_PX), np.uint8)
    for index, letter in enumerate(text):
        columns[index, :5] = np.frombuffer(bytes.fromhex(_COLUMNS.get(letter, _COLUMNS[" "])), np.uint8)
    dots = np.unpackbits(columns.reshape(1, -1), axis=0, bitorder="little").astype(bool)
    return dots.repeat(scale, axis=0).repeat(scale, axis=1)
