"""The context service. Before numpy is imported:"""

import os

# Its products are small: two threads take five times as long for one, and spin between them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
