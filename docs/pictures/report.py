"""The picture of the report: the first screens of its page, as a browser shows them.

make demo
python docs/pictures/report.py runs/tour/report.html      # needs chromium on the path
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1000, 1340


def main(page: Path) -> None:
    """Let the browser draw the page, and keep its top."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        size = [f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars", "--virtual-time-budget=5000"]
        browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", *size, f"--screenshot={shot}"]
        subprocess.run([*browser, page.resolve().as_uri()], check=True, capture_output=True)
        Image.open(shot).convert("RGB").save(HERE / "report.webp", quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
