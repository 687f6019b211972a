"""Rows 1 to 12, 14 and 17: folders and files that are asked about as targets."""

from __future__ import annotations

import os

import numpy as np

from tests.bad_inputs.cases import EVIL, Case, hostile_pickle, target, told
from tests.bad_inputs.spoils import (
    HEAD,
    WEIGHTS,
    WTE,
    X,
    archive,
    as_file,
    as_pickle,
    config,
    device,
    entry,
    fifo,
    header,
    large,
    link_out,
    one,
    place,
    put,
    sharded,
    stored,
    tensors,
    then,
    torch_file,
    tracr_bomb,
    unix_socket,
    without,
    zeros,
)

TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
MANY = {f"t{i}": entry(shape=(0,), offsets=(0, 0)) for i in range(20_001)}
MILLION = b"{" + b",".join(b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(120_000)) + b"}"
NAMES = {"dots": "../W_E", "path": "a/../../b", "NUL": "a\0b", "newline": "a\nb", "ANSI": "\x1b[31mred\x1b[0m"} | {
    "right to left": "a\u202eb",
    "10 kB": "a" * 10_000,
    "empty": "",
}
SHOWN = {"NUL": r"'a\x00b'", "newline": r"'a\nb'", "ANSI": r"\x1b[31mred", "right to left": r"a\u202eb", "empty": "''"}
PLAIN = "expected a plain name of 1 to 256 printable ASCII characters"

FILES = [
    target(1, "empty file", put(b""), f"{WEIGHTS}: the file is empty"),
    target(1, "folder without weights", without(WEIGHTS), f"{WEIGHTS}: no such file"),
    target(1, "FIFO", fifo(WEIGHTS), f"{WEIGHTS}: not a regular file"),
    target(1, "FIFO as configuration", fifo("config.json"), "config.json: not a regular file"),
    target(1, "device", device, WEIGHTS),
    target(1, "socket", unix_socket, f"{WEIGHTS}: not a regular file"),
    target(1, "unreadable", lambda f: (f / WEIGHTS).chmod(0), f"{WEIGHTS}: cannot be read (permission denied)"),
    target(1, "unreadable folder", lambda f: f.chmod(0), "ermission denied"),
    told(1, "empty file as target", ("/x: is not a folder; expected",), place(put(b"", "x"))),
    told(1, "empty file of weights", ("/x.safetensors: the file is empty",), place(put(b"", X), name=X)),
    told(1, "FIFO of weights", (f"/{X}: is not a folder",), place(lambda folder: os.mkfifo(folder / X), name=X)),
    told(1, "device as target", ("/dev/zero: is not a folder; expected",), lambda folder: ["ask", "/dev/zero"]),
    told(1, "nothing", ("/x: does not exist; expected",), place()),
    *(
        target(2, f"pickle {name}", as_pickle(name), f"{name}: a pickle is refused unread", "safetensors.torch.save")
        for name in ("pytorch_model.bin", "model.pt", "model.pkl")
    ),
    *(
        target(2, f"renamed {n}", lambda f, n=n: put(hostile_pickle(f, n))(f), WEIGHTS, "safetensors.torch.save_file")
        for n in (0, 2, 4)
    ),
    target(2, "renamed torch file", lambda f: put(torch_file(f))(f), "a pickle or zip, refused unread", "save_file"),
    *(
        told(2, f"target {name}", (f"{name}: is not a folder", "save_file"), place(as_file(name), name=name))
        for name in ("m.bin", "m.pt", "m.pkl")
    ),
    told(2, "renamed target", (f"/{X}: a pickle or zip, refused unread", "save_file"), place(as_file(X), name=X)),
    target(3, "header of 2^63", header({}, length=2**63), "header of 9223372036854775808 bytes, expected at most"),
    target(
        3, "header over 8 MB", header(b" " * (8 << 20) + b"{}"), "header of 8388610 bytes, expected at most 8388608"
    ),
    target(3, "20,001 tensors", header(MANY), "20001 tensors, expected at most 20000"),
    target(3, "120,000 tensors", header(MILLION), "120000 tensors, expected at most 20000"),
    target(3, "deep header", header(b"[" * 100_000), "header is not valid JSON"),
    target(4, "truncated", lambda f: put((f / WEIGHTS).read_bytes()[:-1])(f), "bytes, expected", "cut short"),
    target(4, "trailing", lambda f: put((f / WEIGHTS).read_bytes() + b"0")(f), "bytes, expected", "bytes at its end"),
    target(4, "overlap", header({"a": entry(), "b": entry(shape=(2,), offsets=(2, 10))}, bytes(10)), "'b' starts at"),
    target(4, "hole", header({"a": entry(), "b": entry(offsets=(8, 12))}, bytes(12)), "'b' starts at byte", "hole"),
    target(4, "overflow", header({"a": entry(shape=(2**40, 2**40))}, bytes(4)), "tensor 'a'", "do not hold shape"),
    target(4, "overflow to zero", header({"a": entry(shape=(2**32, 2**32), offsets=(0, 0))}), "do not hold shape"),
]
TENSORS = [
    target(5, "zero dimension", one("F32", 0, (0, 6)), "tensor"),
    target(5, "zero rows", tensors(lambda a: a.update({"embed.W_E": np.zeros((0, 6))})), "[0, 6], expected [5, 6]"),
    target(5, "huge dimension", one("F32", 8, (2**60,)), "embed.W_E", "expected up to 4 sizes"),
    target(5, "rank over 4", one("F32", 4, (1,) * 5), "embed.W_E", "expected up to 4 sizes"),
    target(5, "integer", one("I32", 8), "tensor 'embed.W_E': dtype I32, expected one of F64, F32, F16, BF16"),
    target(5, "long integer", one("I64", 16), "dtype I64, expected one of"),
    target(5, "truth values", one("BOOL", 2), "dtype BOOL, expected one of"),
    target(5, "list as dtype", header({"a": entry(["F32"])}, bytes(4)), "tensor 'a': dtype ['F32'], expected one of"),
    target(5, "F4", one("F4", 1), "dtype F4, expected one of"),
    target(5, "F8", one("F8_E4M3", 2), "dtype F8_E4M3, expected one of"),
    target(5, "complex", one("C64", 16), "dtype C64, expected one of"),
    target(6, "key twice", header(TWICE, bytes(4)), "header is not valid JSON (key 'a' twice)"),
    target(6, "same offsets", header({"a": entry(), "b": entry()}, bytes(4)), "'b' starts at byte", "overlap"),
    target(7, "NaN", stored("embed.W_E", "F32", np.nan), "tensor 'embed.W_E' holds nan at [1, 1], expected finite"),
    target(7, "Inf", stored("unembed.b_U", "F32", -np.inf), "tensor 'unembed.b_U' holds -inf at [1], expected finite"),
    target(7, "NaN in F16", stored("embed.W_E", "F16", np.nan), "holds nan at [1, 1], expected finite"),
    target(7, "too large for F32", stored("embed.W_E", "F64", 1e300), "holds inf at [1, 1], expected finite"),
    target(
        *(7, "products that are Inf", tensors(lambda a: [held.fill(3e38) for held in a.values()])),
        *("/target: weights of up to 3e+38, expected some whose products are finite",),
    ),
    *(target(8, k, header({n: entry()}, bytes(4)), PLAIN, SHOWN.get(k, "tensor '")) for k, n in NAMES.items()),
    target(
        9, "missing", tensors(lambda a: a.pop("unembed.W_U")), "'unembed.W_U' is missing, expected with shape [6, 3]"
    ),
    target(9, "unexpected", tensors(lambda a: a.update(more=np.zeros(2))), "tensor 'more' is unexpected for 1 layers"),
    target(9, "wrong shape", tensors(lambda a: a.update({"embed.W_E": np.zeros((5, 7))})), "[5, 7], expected [5, 6]"),
    target(9, "transposed", tensors(lambda a: a.update({"embed.W_E": np.zeros((6, 5))})), "[6, 5], expected [5, 6]"),
    target(
        *(9, "tied weights that differ", tensors(lambda a: a.update({HEAD: a[WTE] + 1}))),
        *(f"tensor '{HEAD}' differs from '{WTE}', expected the same numbers",),
        kind="gpt2",
    ),
]
CONFIGS = [
    target(10, "absent", without("config.json"), "config.json: no such file"),
    target(10, "invalid JSON", put(b'{"d_model": 6', "config.json"), "config.json: not valid JSON"),
    target(10, "not UTF-8", put(b'{"d_model": "\xff"}', "config.json"), "config.json: not valid JSON"),
    target(10, "a list", put(b"[]", "config.json"), "config.json: got list, expected an object of fields"),
    target(10, "very deep", put(b'{"a":' * 90_000, "config.json"), "config.json: not valid JSON"),
    target(10, "n_layers 1e5", config(n_layers=100_000), "n_layers = 100000, expected an integer from 0 to 1000"),
    target(10, "n_layers 1e5 as float", config(n_layers=1e5), "n_layers = 100000.0, expected an integer"),
    target(10, "n_layer 1e5", config(n_layer=100_000), "n_layer = 100000, expected an integer", kind="gpt2"),
    target(10, "endless number", put(b'{"d_model": ' + b"9" * 99_999 + b"}", "config.json"), "config.json: not valid"),
    target(10, "heads", config(n_head=4), "n_head = 4, expected a divisor of n_embd, which is 6", kind="gpt2"),
    target(10, "negative", config(d_model=-6), "d_model = -6, expected an integer from 1 to 1000000"),
    target(10, "string for a number", config(d_model="6"), "d_model = '6', expected an integer"),
    target(10, "unknown model type", config(model_type="evil\x1b[2J"), r"model_type = 'evil\x1b[2J', expected one of"),
    target(11, "auto_map", config(auto_map={"AutoConfig": f"{EVIL}.C"}), "auto_map names custom code", kind="gpt2"),
    target(
        *(11, "auto_map without a type", then(put(b"{}", "config.json"), config(auto_map={"AutoModel": EVIL}))),
        *("config.json: auto_map names custom code",),
    ),
    target(11, "custom code", config(model_type=EVIL, trust_remote_code=True), f"model_type = '{EVIL}'", kind="gpt2"),
    target(11, "custom field", config(python_code="import os"), "unknown field 'python_code'"),
    target(
        *(12, "index outside", sharded(transformer__wte__weight="../outside.safetensors")),
        *("file '../outside.safetensors', expected the name of a file in the same folder",),
        kind="gpt2",
    ),
    target(12, "index to the root", sharded(x="/etc/passwd"), "file '/etc/passwd', expected the name", kind="gpt2"),
    target(12, "missing shard", sharded(x="no.safetensors"), "no.safetensors: no such file", kind="gpt2"),
    target(12, "shard linked", then(sharded(), link_out("shard.safetensors")), "a link that leads out", kind="gpt2"),
    target(
        *(12, "index linked", then(sharded(), link_out("model.safetensors.index.json"))),
        *("index.json: a link that leads out of the folder",),
        kind="gpt2",
    ),
    *(
        target(14, f"width {d_model}", zeros(wide), f"{n:,} parameters, expected at most 20,000,000")
        for d_model, (wide, n) in ((d_model, large(d_model)) for d_model in (24, 300))
    ),
    told(17, "zip", ("/x.zip: is not a folder",), archive("x.zip")),
    told(17, "tar", ("/x.tar: is not a folder",), archive("x.tar")),
    told(17, "tar bomb", ("/x.tar.gz: is not a folder",), archive("x.tar.gz")),
    target(17, "zip as weights", lambda f: put(torch_file(f))(f), "a pickle or zip, refused unread"),
    target(17, "arrays that are a bomb", tracr_bomb, "params.npz: tensor 'a' is not a NumPy array"),
]
TARGETS: list[Case] = [*FILES, *TENSORS, *CONFIGS]
