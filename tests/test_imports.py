"""What importing facegrep costs."""

from __future__ import annotations

import subprocess
import sys

NUMPY_ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in {"msgspec", "PIL", "typer", "rich", "click", "onnx", "onnxruntime", "cv2"}:
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Refuse())
import facegrep
index = facegrep.FaceIndex(2)
index.add(["a"], [[1, 0]])
assert index.search([1, 0]).media_ids == ["a"]
import threading
assert threading.active_count() == 1
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {"sqlite3", "msgspec", "PIL", "typer", "rich", "onnxruntime", "tomllib"}))
"""


def test_face_index_works_with_numpy_alone_and_starts_no_thread() -> None:
    run = subprocess.run([sys.executable, "-c", NUMPY_ALONE], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("[]\n", "")
