from __future__ import annotations

import os
import subprocess
import sys


def test_importing_the_protocols_loads_neither_torch_nor_tokenizers() -> None:
    code = (
        "import sys\n"
        "from dspark_local.protocols import chat_encoding, detokenize, output_parser, stop_strings, tokenizer\n"
        "print(sorted({'torch', 'tokenizers', 'numpy', 'pydantic'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "[]"
