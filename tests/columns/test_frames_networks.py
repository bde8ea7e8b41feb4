"""What networks see of columns that are no plain numbers: indicators, one-hots and learned levels."""

import numpy as np
import pytest
import torch

from probmix import families
from probmix.mixup import preset
from probmix.networks import MLP, ColumnLayout, DensityNetwork, InputUnits, StackedNetwork
from probmix.networks.alone import LoneMember
from probmix.networks.encoding import Encoding
from probmix.random import member_keys
from probmix.training import Rows, TrainingData

MEMBERS, ROWS = 3, 40
# a number, its indicator, one-hot levels, a number, embedded levels twice
LAYOUT = ColumnLayout(
    kinds=("number", "indicator", "level", "number", "level", "level"),
    n_levels=(0, 0, 3, 0, 12, 10),
    embedded=(False, False, False, False, True, True),
    names=("age", "age is missing", "sex", "size", "town", "make"),
    sources=(0, 0, 1, 2, 3, 4),
)


def stored(seed=0, rows=ROWS):
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(5, 2, rows),
        rng.integers(0, 2, rows),
        *(rng.integers(0, levels, rows) if levels else rng.normal(size=rows) for levels in LAYOUT.n_levels[2:]),
    ]
    return torch.from_numpy(np.stack(columns, 1).astype(float))


def marginal(members=MEMBERS):
    return torch.tensor([0.0, -0.5]).expand(members, 1, 2)


def units(members, *columns):
    """Location, scale, limit, low and high of each column."""
    ends = (torch.tensor(of_all, dtype=torch.float64) for of_all in zip(*columns, strict=True))
    return InputUnits(*(end.expand(members, 1, -1) for end in ends))


def data_of(x):
    every = torch.arange(len(x)).expand(MEMBERS, -1)
    return TrainingData(Rows(x=x, y=x[:, 0]), every, every, every)


def initialized(network, seed=0):
    network.initialize_(member_keys(seed, MEMBERS), data_of(stored()).input_units(network.layout), marginal())
    return network


def built_in(**options):
    family = families.get("gaussian")
    return initialized(DensityNetwork(family, len(LAYOUT.kinds), MLP((8,)), None, MEMBERS, layout=LAYOUT, **options))


def own(build, place="embedding"):
    family, keys = families.get("gaussian"), member_keys(0, MEMBERS)
    return initialized(StackedNetwork(family, build, (len(LAYOUT.kinds),), None, keys, place=place, layout=LAYOUT))


def by_hand(x, network, member):
    """Rows of a member as its network sees them, column by column in NumPy."""
    loc, scale = (getattr(network, name)[member, 0].numpy() for name in ("loc", "scale"))
    numbers = [(x[:, c] - loc[c]) / scale[c] for c in (0, 3)]
    columns = [z / np.hypot(1, z / 3) for z in numbers] + [x[:, 1]]
    columns += [(x[:, 2] == level) * np.sqrt(0.5) for level in range(3)]
    table = network.encoding.table[member].detach().numpy()
    columns += [*table[x[:, 4].astype(int)].T, *table[12 + x[:, 5].astype(int)].T]
    return np.stack(columns, 1)


def test_only_numbers_have_units():
    found = data_of(stored()).input_units(LAYOUT)
    numbers = [0, 3]
    alone = data_of(stored()[:, numbers]).input_units()
    for name, value in vars(found).items():
        assert torch.equal(value[..., numbers], getattr(alone, name)), name
    others = [1, 2, 4, 5]
    ends = {"loc": 0.0, "scale": 1.0, "limit": torch.inf, "low": -torch.inf, "high": torch.inf}
    for name, end in ends.items():
        assert getattr(found, name)[..., others].unique().tolist() == [end], name


def test_a_table_without_numbers_has_no_units():
    layout = ColumnLayout(("level",), (3,), (False,), ("sex",), (0,))
    found = data_of(stored()[:, 2:3]).input_units(layout)
    assert found.loc.tolist() == [[[0.0]]] * MEMBERS
    assert found.limit.tolist() == [[[torch.inf]]] * MEMBERS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_network_sees_numbers_indicators_one_hots_and_levels_in_this_order(dtype):
    network, x = built_in().to(dtype), stored(1)
    network.loc, network.scale = network.loc.double(), network.scale.double()
    seen = network.standardize(x)
    assert seen.dtype == dtype
    assert seen.shape == (MEMBERS, ROWS, network.z_features) == (MEMBERS, ROWS, 2 + 1 + 3 + 16)
    assert (network.encoding.n_numbers, network.layout.n_numbers, network.seen_shape) == (2, 2, (22,))
    tolerance = 4 * torch.finfo(dtype).eps
    for member in range(MEMBERS):
        expected = by_hand(x.numpy(), network, member)
        np.testing.assert_allclose(seen[member].detach().numpy(), expected, rtol=tolerance, atol=tolerance)
        of_its_own = x.expand(MEMBERS, -1, -1).clone()
        assert torch.equal(network.standardize(of_its_own)[member], seen[member])


def test_a_plain_layout_is_what_there_was_without_one():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 6)))
    family = families.get("gaussian")
    layouts = (None, ColumnLayout.plain(6))
    networks = [DensityNetwork(family, 6, MLP((4,)), None, 2, layout=layout) for layout in layouts]
    for network in networks:
        network.initialize_(member_keys(0, 2), units(2, *[(0.1, 2.0, 3.0, 0.0, 1.0)] * 6), marginal(2))
    assert networks[0].layout == networks[1].layout == ColumnLayout.plain(6)
    assert torch.equal(networks[0](x), networks[1](x))
    layers = ("hidden.0.0.weight", "hidden.0.0.bias", "output.weight", "output.bias")
    assert [*networks[0].state] == [f"trunk.{name}" for name in layers]
    z = ((x - 0.1) / 2).float()
    assert torch.equal(networks[0].standardize(x)[0], z * (1 + (z / 3).square()).rsqrt())
    assert torch.equal(networks[0].distance_features(x), networks[0].standardize(x))


def test_levels_start_at_distance_one_from_the_key_of_the_member():
    encoding = Encoding(ColumnLayout(("level",), (255,), (True,), ("make",), (0,)), MEMBERS)
    encoding.initialize_(member_keys(0, MEMBERS))
    squares = torch.cdist(encoding.table, encoding.table).square().sum((1, 2)) / (255 * 254)
    torch.testing.assert_close(squares, torch.ones(MEMBERS), rtol=0.1, atol=0)
    table = built_in().encoding.table.detach()
    assert not torch.equal(table[0], table[1])
    alone = DensityNetwork(families.get("gaussian"), len(LAYOUT.kinds), MLP((8,)), layout=LAYOUT)
    own_units = InputUnits(*(value[1:2] for value in vars(data_of(stored()).input_units(LAYOUT)).values()))
    alone.initialize_(member_keys(0, MEMBERS)[1:2], own_units, marginal(1))
    assert torch.equal(alone.encoding.table[0], table[1])


def test_levels_are_trained_and_do_not_decay():
    network, x = built_in(), stored()
    x[x[:, 4] == 7, 4] = 8.0
    assert "encoding.table" in network.state
    assert "encoding.table" not in network.decaying
    with torch.no_grad():
        network.state["trunk.output.weight"].normal_(generator=torch.Generator().manual_seed(0))
    network(x).sum().backward()
    gradient = network.encoding.table.grad
    assert bool((gradient[:, :12].flatten(1).norm(dim=1) > 0).all())
    # no row has the level
    assert not gradient[:, 7].any()


def test_members_and_a_lone_one_see_what_all_together_see():
    network, x = built_in().eval(), stored(2)
    part = network.members(torch.tensor([2, 0]))
    assert torch.equal(part.standardize(x), network.standardize(x)[[2, 0]])
    assert torch.equal(part.distance_features(x), network.distance_features(x)[[2, 0]])
    lone = LoneMember(network, 1)
    assert torch.equal(lone.standardize(x), network.standardize(x)[1])
    torch.testing.assert_close(lone(lone.standardize(x)), network(x)[1])


def test_mixing_at_the_input_mixes_one_hots_and_vectors():
    network, x = built_in(), stored().expand(MEMBERS, -1, -1)
    partners = torch.arange(ROWS).flip(0).expand(MEMBERS, -1)
    weights = torch.tensor([0.25, 0.75]).expand(MEMBERS, ROWS, 2)
    with torch.no_grad():
        network.state["trunk.output.weight"].normal_(generator=torch.Generator().manual_seed(0))
    z = network.standardize(x)
    expected = network.on_standardized(0.25 * z + 0.75 * z.flip(1))
    torch.testing.assert_close(network.fused(x, "input", partners, weights, None), expected)


def test_distances_weigh_levels_like_a_unit_of_a_number():
    network = built_in()
    x = stored()[:1].repeat(13, 1)
    x[:12, 4] = torch.arange(12)
    x[12, 2] = (x[12, 2] + 1) % 3
    features = network.distance_features(x)
    assert features.shape == (MEMBERS, 13, 2 + 1 + 3 + 2 * 16)
    assert torch.equal(features[0, :, 2:], features[1, :, 2:])
    between = torch.cdist(features[0], features[0])
    one_hot = (x[12, 4] == x[:12, 4]).nonzero().item()
    assert between[12, one_hot] == pytest.approx(1)
    off = between[:12, :12][~torch.eye(12, dtype=torch.bool)]
    assert 0.6 < off.min() < off.max() < 1.4
    assert torch.equal(features, network.distance_features(x))
    network.encoding.initialize_(member_keys(5, MEMBERS))
    assert torch.equal(features, network.distance_features(x))


def test_networks_of_the_user_see_one_hots_only():
    shapes = []

    def build(shape):
        shapes.append(shape)
        return torch.nn.Linear(*shape, 4)

    network, x = own(build), stored()
    assert set(shapes) == {(2 + 1 + 3 + 12 + 10,)}
    seen = network.standardize(x)
    assert torch.equal(seen[..., 6:18].argmax(-1), x[:, 4].long().expand(MEMBERS, -1))
    assert torch.equal(seen[..., 3:].sum(-1), torch.full((MEMBERS, ROWS), 3 * 0.5**0.5))
    assert torch.equal(network.distance_features(x), seen)
    assert not network.layout.embedded[4]
    lone = LoneMember(network, 1)
    assert torch.equal(lone.standardize(x), seen[1])
    network.settle(draws=False)
    assert network(x).shape == (MEMBERS, ROWS, 2)
    network.check_place("embedding")


def test_densities_are_mixed_in_networks_of_all_columns():
    for kind in ("gaussian", "gaussian-separate"):
        network, x = built_in(embedding=kind), stored().expand(MEMBERS, -1, -1)
        noise = network.draw_noise(member_keys(0, MEMBERS), 5)
        assert network.draws(x, noise).shape == (MEMBERS, 5, ROWS, 2)


def test_partners_see_levels_at_distance_one():
    """The nearest neighbours are the rows of the same level, where that is all that differs."""
    from probmix.mixup.drawing import prepare_partners

    layout = ColumnLayout(("number", "level"), (0, 4), (False, True), ("a", "b"), (0, 1))
    rows = torch.stack([torch.linspace(0, 1e-3, ROWS).double(), torch.arange(ROWS).double() % 4], 1)
    network = DensityNetwork(families.get("gaussian"), 2, MLP(()), None, 1, layout=layout)
    network.initialize_(
        member_keys(0, 1), units(1, (0.0, 1.0, 3.0, 0.0, 1.0), (0.0, 1.0, torch.inf, 0.0, 1.0)), marginal(1)
    )
    mixup = preset("local-probmix")
    features = network.distance_features(rows)
    law = prepare_partners(mixup, families.get("gaussian"), [features[0]], [rows[:, 0]])
    numbers = torch.rand(1, ROWS, 1, generator=torch.Generator().manual_seed(0))
    drawn = law.draw(torch.arange(ROWS).unsqueeze(0), lambda shape: numbers.view(1, *shape), 1)
    assert torch.equal(drawn.view(-1) % 4, torch.arange(ROWS) % 4)
