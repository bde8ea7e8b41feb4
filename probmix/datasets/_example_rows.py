"""Simulated rows with the columns of real tables, for examples on machines without these."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

CLAIMS = 12_000
SEVERITIES = 6_000
HOUSES = 1_200
DEMAND = 10_000
LOAD = 2 * 365 * 24
WINE = 2_000
# 42 patients, 47 recordings each or so
_PATIENTS, _RECORDINGS = 42, 1959

_AMES = ["North_Ames", "College_Creek", "Old_Town", "Edwards", "Somerset", "Northridge_Heights", "Gilbert", "Sawyer"]


class Rows(NamedTuple):
    """Features (n, F), targets (n,), and exposures and groups (n,) where there are any."""

    X: pd.DataFrame
    y: NDArray[Any]
    exposure: NDArray[np.float64] | None = None
    groups: NDArray[Any] | None = None


def _pick(random: Generator, n: int, shares: dict[str, float]) -> NDArray[np.str_]:
    """Words, each with its share of the rows."""
    share = np.array(list(shares.values()))
    return random.choice(list(shares), n, p=share / share.sum())


def _whole(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.int64]:
    return np.clip(np.round(values), low, high).astype(np.int64)


def claims(random: Generator) -> Rows:
    """Counts that vary more than Poisson's, with rates that grow with the malus and fall with the driver's age."""
    n = CLAIMS
    age = _whole(18 + random.gamma(3.8, 7.2, n), 18, 100)
    malus = _whole(50 + random.exponential(np.where(age < 30, 25, 8), n) * (random.random(n) < 0.6), 50, 230)
    density = _whole(np.exp(random.normal(6, 1.8, n)), 1, 27000)
    X = pd.DataFrame(
        {
            "Area": np.array(list("ABCDEF"))[np.searchsorted([50, 100, 500, 2000, 10000], density)],
            "VehPower": _whole(4 + random.gamma(1.6, 1.5, n), 4, 15),
            "VehAge": _whole(random.gamma(1.6, 4.4, n), 0, 100),
            "DrivAge": age,
            "BonusMalus": malus,
            "VehBrand": _pick(random, n, {"B12": 25, "B1": 25, "B2": 24, "B3": 8, "B5": 6, "B6": 5, "B4": 4, "B10": 3}),
            "VehGas": _pick(random, n, {"Regular": 51, "Diesel": 49}),
            "Density": density,
            "Region": _pick(random, n, {"R24": 24, "R82": 13, "R93": 12, "R11": 11, "R53": 7, "R52": 6, "R91": 6}),
        }
    )
    exposure = np.where(random.random(n) < 0.25, 1.0, np.ceil(100 * random.random(n)) / 100)
    rate = np.exp(
        -2.7 + 0.025 * (malus - 50) + 0.6 * (age < 23) - 0.3 * np.cos((age - 45) / 12) + 0.06 * np.log(density)
    ) * np.where(X["VehAge"] > 12, 0.6, 1.0)
    return Rows(X, random.poisson(rate * exposure * random.gamma(1.5, 1 / 1.5, n)), exposure=exposure)


def severities(random: Generator) -> Rows:
    """Costs of a year: no claim for most, else the sum of log-normal ones, with tails that depend on the driver."""
    n = SEVERITIES
    age = _whole(18 + random.gamma(3.8, 7.7, n), 18, 95)
    bm = _whole(random.exponential(np.where(age < 30, 6.0, 3.0), n) - 0.5, 0, 22)
    X = pd.DataFrame(
        {
            "coverage": _pick(random, n, {"TPL": 58, "TPL+": 28, "TPL++": 14}),
            "ageph": age,
            "sex": _pick(random, n, {"male": 74, "female": 26}),
            "bm": bm,
            "power": _whole(random.gamma(8.7, 6.4, n), 10, 243),
            "agec": _whole(random.gamma(3.1, 2.4, n), 0, 48),
            "fuel": _pick(random, n, {"gasoline": 69, "diesel": 31}),
            "use": _pick(random, n, {"private": 95, "work": 5}),
            "fleet": (random.random(n) < 0.03).astype(np.int64),
            "postcode": 10 * random.integers(100, 1000, n),
            "long": random.normal(4.4, 0.7, n).clip(2.58, 6.3),
            "lat": random.normal(50.76, 0.3, n).clip(49.5, 51.45),
        }
    )
    number = random.poisson(0.12 * np.exp(0.075 * (bm - 3) + 0.3 * (X["fuel"] == "diesel") + 0.35 * (age < 27)))
    costs = np.exp(random.normal(6.1, 1.5, n) + 0.5 * (age < 27) + 0.02 * (age - 60).clip(0))
    return Rows(X, np.round(number * costs, 2))


def houses(random: Generator) -> Rows:
    """Prices that go with size, age and neighbourhood, and vary more where houses are large and old."""
    n = HOUSES
    place = random.integers(0, len(_AMES), n)
    built = _whole(
        np.array([1958, 1998, 1926, 1954, 2005, 2006, 1999, 1970])[place] + random.normal(0, 7, n), 1880, 2010
    )
    area = _whole(np.exp(random.normal(7.22 + 0.06 * (place % 3), 0.3, n)), 400, 5000)
    lot = _whole(np.exp(random.normal(9.1, 0.35, n)), 1500, 60000)
    condition = ["Poor", "Below_Average", "Average", "Above_Average", "Good", "Very_Good"]
    state = random.choice(len(condition), n, p=[0.02, 0.08, 0.55, 0.18, 0.12, 0.05])
    frontage = np.round(np.sqrt(lot) * random.normal(0.7, 0.1, n)).clip(21, 300)
    X = pd.DataFrame(
        {
            "Neighborhood": np.array(_AMES)[place],
            "Bldg_Type": _pick(random, n, {"OneFam": 83, "TwnhsE": 8, "Duplex": 4, "Twnhs": 3, "TwoFmCon": 2}),
            "House_Style": _pick(random, n, {"One_Story": 51, "Two_Story": 30, "One_and_Half_Fin": 11, "SLvl": 8}),
            "Overall_Cond": np.array(condition)[state],
            "Year_Built": built,
            "Year_Remod_Add": np.maximum(built, _whole(random.uniform(1950, 2010, n), 1950, 2010)),
            "Lot_Frontage": np.where(random.random(n) < 0.17, np.nan, frontage),
            "Lot_Area": lot,
            "Mas_Vnr_Area": _whole(random.gamma(1, 250, n) * (random.random(n) < 0.4), 0, 1600),
            "Foundation": np.where(built > 1975, "PConc", np.where(built > 1940, "CBlock", "BrkTil")),
            "Total_Bsmt_SF": _whole(area * random.uniform(0.4, 1.0, n), 0, 3000),
            "Central_Air": np.where(random.random(n) < (built - 1870) / 100, "Y", "N"),
            "Gr_Liv_Area": area,
            "Full_Bath": _whole(area / 900 + random.normal(0, 0.4, n), 1, 4),
            "Bedroom_AbvGr": _whole(1 + area / 800 + random.normal(0, 0.6, n), 0, 8),
            "Fireplaces": random.poisson(area / 2600),
            "Garage_Type": _pick(random, n, {"Attchd": 59, "Detchd": 27, "BuiltIn": 7, "No_Garage": 7}),
            "Garage_Cars": _whole(area / 900 + random.normal(0.1, 0.5, n), 0, 4),
            "Mo_Sold": random.integers(1, 13, n),
            "Year_Sold": random.integers(2006, 2011, n),
            "Sale_Condition": _pick(random, n, {"Normal": 82, "Partial": 8, "Abnorml": 7, "Family": 3}),
            "Longitude": -93.64 + 0.01 * (place - 4) + random.normal(0, 0.004, n),
            "Latitude": 42.03 + 0.004 * (place % 4) + random.normal(0, 0.003, n),
        }
    )
    log_price = 5.9 + 0.8 * np.log(area) + 0.004 * (built - 1960) + 0.06 * state + 0.08 * np.log(lot / 9000)
    log_price += np.array([-0.05, 0.06, -0.15, -0.12, 0.12, 0.25, 0.02, -0.08])[place]
    log_price += 0.06 * X["Fireplaces"] + 0.05 * X["Garage_Cars"] - 0.15 * (X["Sale_Condition"] == "Abnorml")
    noise = random.standard_t(5, n) * np.exp(-2.5 + 0.012 * (1975 - built).clip(0))
    return Rows(X, np.round(np.exp(log_price + noise), -2))


def demand(random: Generator) -> Rows:
    """Rentals by the hour up to the end of 2012: peaks of commuters, warm weekends, and a level that drifts."""
    time = pd.date_range(end="2012-12-31 23:00", periods=DEMAND, freq="h")
    hour, day, week = time.hour.to_numpy(), time.day_of_year.to_numpy(), time.day_of_week.to_numpy()
    month, year = time.month.to_numpy(), time.year.to_numpy() - 2011
    holiday = np.isin(time.strftime("%m-%d"), ["07-04", "09-03", "10-08", "11-12", "11-22", "12-25"]).astype(np.int64)
    working = ((week < 5) & (holiday == 0)).astype(np.int64)
    warm = 0.5 + 0.25 * np.cos(2 * np.pi * (day - 200) / 365) + 0.06 * np.cos(2 * np.pi * (hour - 15) / 24)
    temp = np.round(np.clip(warm + _slowly(random, DEMAND, 0.98, 0.06), 0.02, 1), 2)
    damp = np.clip(0.62 + _slowly(random, DEMAND, 0.97, 0.17) - 0.1 * np.cos(2 * np.pi * (hour - 15) / 24), 0.1, 1)
    weather = 1 + (damp > 0.72) + (damp > 0.88)
    commuters = 1.2 * np.exp(-(((hour - 8) / 1.2) ** 2)) + 1.3 * np.exp(-(((hour - 17.5) / 1.8) ** 2))
    leisure = 1.5 * np.exp(-(((hour - 14) / 4.5) ** 2))
    rate = 25 + 240 * np.where(working == 1, commuters + 0.5 * leisure, 1.3 * leisure) + 40 * (hour > 18)
    rate = rate * (0.25 + 1.5 * temp - 0.6 * (temp - 0.7).clip(0)) * np.array([1.0, 0.85, 0.5])[weather - 1]
    rate = np.where(hour < 5, 0.25, 1.0) * rate * np.exp(0.3 * year + _slowly(random, DEMAND, 0.997, 0.25))
    X = pd.DataFrame(
        {
            "dteday": time.normalize(),
            "season": np.select([month < 3, month < 6, month < 9, month < 12], [1, 2, 3, 4], 1),
            "yr": year.astype(np.int64),
            "mnth": month.astype(np.int64),
            "hr": hour.astype(np.int64),
            "holiday": holiday,
            "weekday": ((week + 1) % 7).astype(np.int64),
            "workingday": working,
            "weathersit": weather.astype(np.int64),
            "temp": temp,
            "atemp": np.round(0.9 * temp + 0.03, 4),
            "hum": np.round(damp, 2),
            "windspeed": np.round(random.gamma(2.4, 0.08, DEMAND).clip(0, 0.85), 4),
        }
    )
    return Rows(X, 1 + random.poisson(rate * random.gamma(12, 1 / 12, DEMAND)))


def _slowly(random: Generator, n: int, keep: float, sd: float) -> NDArray[np.float64]:
    """An autoregressive series of this standard deviation that keeps a share of its last value."""
    values, steps = np.empty(n), random.normal(0.0, sd * np.sqrt(1 - keep**2), n)
    last = random.normal(0.0, sd)
    for row, step in enumerate(steps):
        values[row] = last = keep * last + step
    return values


def patients(random: Generator) -> Rows:
    """Scores that drift within a patient, and voices that tell patients apart better than scores."""
    groups = np.sort(np.arange(_RECORDINGS) % _PATIENTS)
    age, sex = _whole(random.normal(65, 9, _PATIENTS), 36, 85), (random.random(_PATIENTS) < 0.32).astype(np.int64)
    level = random.normal(0, 1, _PATIENTS)
    time = np.concatenate([np.sort(random.uniform(0, 190, (groups == one).sum())) for one in range(_PATIENTS)])
    voice = (0.5 * level + random.normal(0, 0.4, _PATIENTS))[groups] + random.normal(0, 0.35, _RECORDINGS)
    other = random.normal(0, 0.7, _PATIENTS)[groups] + random.normal(0, 0.4, _RECORDINGS)
    jitter, shimmer = np.exp(-5.3 + 0.8 * voice), np.exp(-3.6 + 0.7 * voice + 0.2 * other)

    def near(values: NDArray[np.float64], share: float, sd: float = 0.08) -> NDArray[np.float64]:
        return share * values * np.exp(random.normal(0, sd, _RECORDINGS))

    X = pd.DataFrame(
        {
            "age": age[groups],
            "sex": sex[groups],
            "test_time": time,
            "jitter": jitter,
            "jitter_abs": near(jitter, 0.007, 0.2),
            "jitter_rap": near(jitter, 0.48),
            "jitter_ppq5": near(jitter, 0.52),
            "jitter_ddp": near(jitter, 1.45),
            "shimmer": shimmer,
            "shimmer_db": near(shimmer, 9.1),
            "shimmer_apq3": near(shimmer, 0.5),
            "shimmer_apq5": near(shimmer, 0.58),
            "shimmer_apq11": near(shimmer, 0.8),
            "shimmer_dda": near(shimmer, 1.5),
            "nhr": np.exp(-4 + voice + random.normal(0, 0.4, _RECORDINGS)),
            "hnr": 21.7 - 4 * voice + random.normal(0, 1.5, _RECORDINGS),
            "rpde": (0.54 + 0.08 * other + random.normal(0, 0.04, _RECORDINGS)).clip(0.1, 1),
            "dfa": (0.65 + 0.06 * random.normal(0, 1, _PATIENTS)[groups] + random.normal(0, 0.02, _RECORDINGS)).clip(
                0.5, 0.9
            ),
            "ppe": (0.22 + 0.08 * voice + random.normal(0, 0.03, _RECORDINGS)).clip(0.02, 0.8),
        }
    )
    drift = random.normal(0.01, 0.025, _PATIENTS)[groups] * time
    score = 29 + 9.5 * level[groups] + 0.15 * (X["age"] - 65) + drift + random.normal(0, 1.0, _RECORDINGS)
    return Rows(X, np.round(score.to_numpy().clip(7, 55), 3), groups=groups + 1)


def load(random: Generator) -> Rows:
    """Loads of two years: the hours of working days and weekends, and cooling and heating by the temperature."""
    time = pd.date_range("2012-12-25", "2014-12-31 23:00", freq="h")
    n, hour, day = len(time), time.hour.to_numpy(), time.day_of_year.to_numpy()
    holiday = np.isin(
        time.strftime("%m-%d"),
        ["01-01", "01-27", "03-10", "04-18", "04-21", "04-25", "06-09", "11-04", "12-25", "12-26"],
    )
    seasons = 16 + 6 * np.cos(2 * np.pi * (day - 20) / 365) + 4 * np.cos(2 * np.pi * (hour - 15) / 24)
    hot = np.maximum(_slowly(random, n, 0.985, 1.0), 0) * (6 + 2 * np.cos(2 * np.pi * (day - 20) / 365))
    temperature = np.round(seasons + hot * 0.9 + _slowly(random, n, 0.97, 2.0) - 2.5, 1)
    rest = (time.day_of_week.to_numpy() >= 5) | holiday
    shape = 1300 * np.exp(-(((hour - 18) / 3.5) ** 2)) + 1100 * np.exp(-(((hour - 9) / 3.5) ** 2)) - 700 * (hour < 6)
    weather = 75 * np.maximum(temperature - 24, 0) + 50 * np.maximum(14 - temperature, 0)
    noise = 1 + _slowly(random, n, 0.97, 0.035) * (1 + (temperature > 28))
    demand = (4150 + np.where(rest, 0.6 * shape - 350, shape) + weather) * noise
    return load_of_hours(pd.Series(demand, time), pd.Series(temperature, time), pd.Series(holiday, time))


def load_of_hours(demand: pd.Series, temperature: pd.Series, holiday: pd.Series) -> Rows:
    """The last hours of an hourly series, with what is known of an hour a week before it."""
    time = pd.DatetimeIndex(demand.index)
    X = pd.DataFrame(
        {
            "time": time,
            "hour": time.hour.astype(np.int64),
            "weekday": time.day_name(),
            "month": time.month.astype(np.int64),
            "holiday": holiday.to_numpy().astype(np.int64),
            "temperature": temperature.to_numpy(),
            "week_before": demand.shift(7 * 24).to_numpy(),
        }
    )
    return Rows(X[-LOAD:], demand.to_numpy()[-LOAD:])


def wine(random: Generator) -> Rows:
    """Scores rounded from a taste that grows with alcohol and falls with volatile acids."""
    n = WINE
    alcohol = np.round(np.clip(8.3 + random.gamma(3, 0.75, n), 8, 14.2), 1)
    sugar = np.round(np.exp(random.normal(1.5, 0.85, n)).clip(0.6, 40), 1)
    volatile = np.round(np.exp(random.normal(-1.33, 0.33, n)).clip(0.08, 1.1), 2)
    free = _whole(random.gamma(4.3, 8.2, n), 2, 289).astype(float)
    X = pd.DataFrame(
        {
            "fixed_acidity": np.round(random.normal(6.85, 0.84, n).clip(3.8, 14.2), 1),
            "volatile_acidity": volatile,
            "citric_acid": np.round(random.normal(0.33, 0.12, n).clip(0, 1.66), 2),
            "residual_sugar": sugar,
            "chlorides": np.round(np.exp(random.normal(-3.15, 0.35, n)).clip(0.009, 0.35), 3),
            "free_sulfur_dioxide": free,
            "total_sulfur_dioxide": np.round(60 + 1.5 * free + random.gamma(3, 9, n)),
            "density": np.round(1.0003 - 0.0009 * (alcohol - 4) + 0.0003 * sugar, 5),
            "ph": np.round(random.normal(3.19, 0.15, n).clip(2.7, 3.8), 2),
            "sulphates": np.round(np.exp(random.normal(-0.74, 0.22, n)).clip(0.22, 1.08), 2),
            "alcohol": alcohol,
        }
    )
    taste = 5.9 + 0.33 * (alcohol - 10.5) - 2 * (volatile - 0.28) + 0.02 * (sugar - 6) - 0.8 * np.exp(-free / 8)
    return Rows(X, _whole(taste + random.normal(0, 0.7, n), 3, 9))
