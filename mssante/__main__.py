"""`python -P -m mssante` is the command `mssante`. (-P: a folder named tls or imap here must not stand for ours.)"""

import sys

from mssante.cli import main

sys.exit(main())
