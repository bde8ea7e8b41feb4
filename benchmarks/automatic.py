"""What batch size and patience by the number of rows cost and gain: time and test NLL of single fits.

    python benchmarks/automatic.py --data DATA [--sets uci/kin8nm,uci/power-plant] [--max-epochs 200]

Each set is split 80/20 by the seed 0 and fitted by the default estimator with the batch size and the patience named at
the left. Times are those of one thread; on a busy machine compare them within one run only.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

from far_out import load
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from probmix import DensityRegressor

SETTINGS = ((64, 30), (1_024, 30), ("auto", "auto"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PROBMIX_DATA"))
    parser.add_argument("--sets", default="uci/kin8nm,uci/power-plant")
    parser.add_argument("--max-epochs", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in options.sets.split(","):
        X, y = load(options.data, name)
        train, test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
        for batch, patience in SETTINGS:
            model = DensityRegressor(
                batch_size=batch,
                patience=patience,
                max_epochs=options.max_epochs,
                device="cpu",
                random_state=0,
                preset="plain",
            )
            start = time.perf_counter()
            model.fit(train, y_train)
            seconds = time.perf_counter() - start
            print(
                f"{name:28s} batch {batch!s:>5s} patience {patience!s:>5s} ({model.params_['batch_size']}, "
                f"{model.params_['patience']}): {model.n_epochs_[0]:4d} epochs {seconds:7.1f} s "
                f"NLL {-model.score(test, y_test):8.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
