"""The names at the top of the package, as the README uses them."""

import nas


def test_from_space_to_source():
    space = nas.load_space("residual_vs_fractal")
    genotype = space.sample(seed=0)
    assert nas.Genotype.from_json(genotype.to_json()) == genotype
    graph = nas.expand(genotype, (3, 32, 32), 10)
    figures = nas.cost(graph)
    assert figures.params > 0
    assert figures.flops > 0
    assert "class Network(nn.Module):" in nas.source(graph)
    network = nas.build(genotype, (3, 32, 32), 10)
    assert sum(p.numel() for p in network.parameters()) == figures.params


def test_every_name_is_found():
    for name in nas.__all__:
        assert callable(getattr(nas, name))
