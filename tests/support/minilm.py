"""A folder as EMBEDDING_MODEL_PATH wants it: the real files' format and inputs, with a model of a few words.

Its last hidden state is a table's row for each token; an unknown word's row is zeros.
"""

from pathlib import Path

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

_WORDS = (
    "the",
    "cat",
    "sat",
    "on",
    "mat",
    "slept",
    "a",
    "tax",
    "value",
    "added",
    "harbour",
    "lamp",
    "one",
    "two",
    "three",
)
_DIMENSIONS = 384


def write_model(folder: Path) -> Path:
    rows = numpy.random.default_rng(1).normal(size=(len(_WORDS) + 1, _DIMENSIONS)).astype(numpy.float32)
    rows[0] = 0
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    state = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", _DIMENSIONS])
    node = helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])
    graph = helper.make_graph([node], "words", inputs, [state], [numpy_helper.from_array(rows, "table")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir(parents=True)
    onnx.save_model(model, str(folder / "onnx" / "model.onnx"))
    words = {"[UNK]": 0} | {word: number for number, word in enumerate(_WORDS, 1)}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
