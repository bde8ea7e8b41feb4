"""As much of polars, which need not be installed, as is asked of it."""


class FakeDtype:
    def __init__(self, name, zone=None):
        self.name, self.time_zone = name, zone

    def __str__(self):
        return self.name


class FakeSeries:
    """As much of a series of polars as is asked of it: its arrays have None for gaps of text, and times are in UTC."""

    def __init__(self, values, name, zone=None):
        self.values, self.dtype = values, FakeDtype(name, zone)

    def to_numpy(self):
        return self.values


class FakePolars:
    """As much of a frame of polars as is asked of it."""

    def __init__(self, **columns):
        self.all = columns

    columns = property(lambda self: [*self.all])
    shape = property(lambda self: (len(self), len(self.all)))

    def get_columns(self):
        return [*self.all.values()]

    def __len__(self):
        return len(next(iter(self.all.values())).values)
