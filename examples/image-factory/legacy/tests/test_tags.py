import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from image_tags.cli import versions  # noqa: E402


class Versions(unittest.TestCase):
    def test_order_is_that_of_versions(self) -> None:
        tags = ["latest", "1.10.0", "v1.9.0", "2.0.0rc1", "main"]
        self.assertEqual([tag for _, tag in versions(tags)], ["v1.9.0", "1.10.0", "2.0.0rc1"])


if __name__ == "__main__":
    unittest.main()
