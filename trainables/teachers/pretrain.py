"""Train a small teacher, of the architecture of the embedded one, on pictures and texts of your own.

python -m trainables.teachers.pretrain --dataset jsonl:pairs.jsonl --out my_teacher/
python -m trainables.teachers.pretrain --dataset prepared:DIR --out my_teacher/ --epochs 60
"""

import sys

from trainables.teachers.blip.pretrain_own import main

if __name__ == "__main__":
    sys.exit(main())
