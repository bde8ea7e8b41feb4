"""A small series file like that of the stocks: three tickers, random walks."""

import numpy as np
import pandas as pd

TICKERS = ("AAA", "BBB", "GOOG")


def write_stocks(folder, rows=130):
    """Write ``series/stocks_2019_2020.csv`` into a folder of data sets, and return the folder."""
    random = np.random.default_rng(0)
    tables = []
    for price, ticker in enumerate(TICKERS, start=1):
        close = 20.0 * price + random.normal(size=rows).cumsum() * 0.3
        opening = close + random.normal(size=rows) * 0.1
        tables.append(
            pd.DataFrame(
                {
                    "Ticker": ticker,
                    "Date": pd.bdate_range("2019-01-02", periods=rows).date,
                    "Open": opening,
                    "High": np.maximum(opening, close) + 0.1,
                    "Low": np.minimum(opening, close) - 0.1,
                    "Close": close,
                    "Volume": 1000,
                }
            )
        )
    path = folder / "series" / "stocks_2019_2020.csv"
    path.parent.mkdir(parents=True)
    pd.concat(tables).to_csv(path, index=False)
    return folder
