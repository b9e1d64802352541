"""Generate broker/pb from the .proto files (``make proto``). The result is committed; a test proves it is current."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).resolve().parent
PACKAGE = "broker/pb"


def generate(out: Path) -> None:
    """Write the modules below ``out`` / broker / pb. Raises RuntimeError when protoc refuses a file."""
    files = [f"{PACKAGE}/{path.relative_to(PROTO).as_posix()}" for path in sorted(PROTO.rglob("*.proto"))]
    scripts = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={PACKAGE}={PROTO}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
        *files,
    ]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed; its message stands above")
    for folder in {(out / name).parent for name in files} | {(out / name).parent.parent for name in files}:
        (folder / "__init__.py").touch()


if __name__ == "__main__":
    generate(PROTO.parent)
