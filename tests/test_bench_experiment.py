from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.experiment import (
    LARGEST_CHUNK,
    Experiment,
    divide,
    expert_kind,
    expert_label,
    expert_smoothing,
    learner_label,
)
from imitation.learners.configs import BehaviourCloning, Dagger
from imitation.optim import Foreign, Sgd
from mpc.catalogue import SystemSpec, double_integrator
from mpc.configs import Barrier, Explicit, Linear, Lqr, Online, Smoothed
from mpc.record import key_of

BASE = Experiment(
    "demo", SystemSpec("double_integrator"), Online(), BehaviourCloning(), demonstrations=5, steps=20
)


def test_the_key_is_a_function_of_every_field():
    changed = [
        replace(BASE, study="other"),
        replace(BASE, system=SystemSpec.parse("double_integrator:N=5")),
        replace(BASE, expert=Barrier(0.1)),
        replace(BASE, expert=Barrier(0.2)),
        replace(BASE, learner=BehaviourCloning(steps=7)),
        replace(BASE, demonstrations=6),
        replace(BASE, steps=21),
        replace(BASE, rep=1),
        replace(BASE, test_episodes=7),
    ]
    keys = [BASE.key(), *(experiment.key() for experiment in changed)]
    assert len(set(keys)) == len(keys)
    assert replace(BASE).key() == BASE.key()
    assert len(BASE.key()) == 64


def test_a_problem_of_ones_own_is_keyed_by_its_arrays():
    one, same = (replace(BASE, system=double_integrator()) for _ in range(2))
    other = replace(BASE, system=double_integrator().with_(R=np.eye(1)))
    assert one.key() == same.key()
    assert one.key() != other.key()
    assert one.system_name.startswith("double_integrator-")
    assert [chunk.name for chunk in divide([one, same])] == [chunk.name for chunk in divide([one])]


def test_chunks_are_populations_of_what_differs_in_data_and_seed_only():
    asked = [
        replace(BASE, expert=expert, rep=rep, demonstrations=n)
        for expert in (Online(), Barrier(1.0))
        for n in (20, 5)
        for rep in range(3)
    ]
    chunks = divide(asked)
    assert [len(chunk.members) for chunk in chunks] == [6, 6]
    assert {member.expert for member in chunks[1].members} == {Barrier(1.0)}
    order = [(member.rep, member.demonstrations) for member in chunks[0].members]
    assert order == [(0, 5), (0, 20), (1, 5), (1, 20), (2, 5), (2, 20)]


def test_the_division_does_not_depend_on_order_or_repeats():
    asked = [replace(BASE, rep=rep) for rep in range(5)]
    assert divide(asked) == divide([*reversed(asked), asked[2]])
    assert divide(asked)[0].name != divide(asked[:4])[0].name


def test_no_chunk_is_larger_than_allowed():
    chunks = divide(replace(BASE, rep=rep) for rep in range(150))
    assert [len(chunk.members) for chunk in chunks] == [LARGEST_CHUNK, LARGEST_CHUNK, 150 - 2 * LARGEST_CHUNK]
    assert len({chunk.name for chunk in chunks}) == 3


@pytest.mark.parametrize(
    ("config", "label", "kind", "smoothing"),
    [
        (Online(), "online", "online", None),
        (Online(soft=10.0), "online soft=10", "online", None),
        (Online(solver="osqp"), "online solver=osqp", "online", None),
        (Explicit(), "explicit", "explicit", None),
        (Explicit(max_regions=9), "explicit max_regions=9", "explicit", None),
        (Barrier(0.1), "barrier eta=0.1", "barrier", 0.1),
        (Smoothed(1.0), "smoothed sigma=1", "smoothed", 1.0),
        (Smoothed(2.0, samples=8, law="ball"), "smoothed sigma=2 samples=8 law=ball", "smoothed", 2.0),
        (Lqr(), "lqr", "lqr", None),
    ],
)
def test_labels_of_experts(config, label, kind, smoothing):
    assert (expert_label(config), expert_kind(config)) == (label, kind)
    assert expert_smoothing(config) == smoothing if smoothing else np.isnan(expert_smoothing(config))


@pytest.mark.parametrize(
    ("learner", "label"),
    [
        (BehaviourCloning(), "BehaviourCloning AdamW "),
        (BehaviourCloning(optimizer=Foreign(torch.optim.SGD, (("lr", 0.1),))), "BehaviourCloning SGD "),
        (Dagger(BehaviourCloning(optimizer=Sgd())), "Dagger Sgd "),
    ],
)
def test_labels_of_learners_name_their_optimizer_and_tell_all_options_apart(learner, label):
    assert learner_label(learner) == label + key_of(learner)[:6]


def test_different_gains_have_different_labels():
    assert expert_label(Linear(((1.0, 0.0),))) != expert_label(Linear(((2.0, 0.0),)))


@pytest.mark.parametrize("name", ["demonstrations", "steps", "test_episodes"])
@pytest.mark.parametrize("value", [0, 2.5, True])
def test_counts_must_be_whole_numbers(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        replace(BASE, **{name: value})
