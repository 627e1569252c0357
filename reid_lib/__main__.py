"""`python -m reid_lib` is `reid-lib`."""

import sys

from reid_lib.cli import main

sys.exit(main())
