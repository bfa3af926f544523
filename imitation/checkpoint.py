"""Policies on disk: one file each, plain tensors, numbers and text, read with ``weights_only=True``."""

import json
import os
import pickle
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from imitation.learned import Learned
from imitation.policies.configs import PolicyConfig
from imitation.trained import Deployment, Trained, act
from mpc.controllers import Law
from mpc.problem import ControlProblem
from mpc.record import from_record, to_record

FORMAT = "centralpath-policy"
SCHEMA = 2


def save_policy(path: str | Path, learned: Trained | Learned, k: int, overwrite: bool = False) -> None:
    """Write member ``k``: weights, normalisation, bounds, and the records of its policy and learner.

    Of a controller that is made of several policies all of them, and how.

    The file appears under its name complete or not at all.

    Raises:
        ValueError: if the path exists and ``overwrite`` is False, its folder does not exist, or there is
            no member k.
    """
    path = Path(path)
    content = _content(learned, k)
    if not path.parent.is_dir():
        raise ValueError(f"path must lie in a folder that exists, got {path}; make {path.parent} first")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        _publish(Path(temporary), path, overwrite)
    finally:
        Path(temporary).unlink(missing_ok=True)


def load_policy(path: str | Path) -> tuple[nn.Module, PolicyConfig]:
    """The policy as a module in ``eval()`` mode, and the config of its architecture.

    Raises:
        ValueError: if there is no such file, it is not a checkpoint of a policy that this version can read,
            or it holds several.
    """
    policies, config, deployment, _ = _loaded(path)
    if len(policies) > 1 or deployment != Deployment():
        raise ValueError(
            f"{path} holds {len(policies)} policies that make one controller; load it with load_controller"
        )
    return policies[0], config


def load_controller(path: str | Path) -> Law:
    """What was saved as a controller for ``mpc.simulate``, of one policy or of several.

    Raises:
        ValueError: as ``load_policy``, but for several policies.
    """
    policies, config, deployment, problem = _loaded(path)
    return deployment.controller([partial(act, policy) for policy in policies], config, problem)


def _loaded(path: str | Path) -> tuple[list[nn.Module], PolicyConfig, Deployment, ControlProblem]:
    content = read_checkpoint(path)
    try:
        config = from_record(content["policy"], get_args(PolicyConfig))
        deployment = from_record(content["deployment"], (Deployment,))
        problem = ControlProblem.from_record(json.loads(content["problem_record"]))
        policies = []
        for tensors in content["fits"]:
            module = config.build(content["n"], content["m"], problem.U).to(getattr(torch, content["dtype"]))
            module.load_state_dict(tensors)
            policies.append(module.eval())
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is a policy checkpoint that does not fit this version: {error}") from error
    return policies, config, deployment, problem


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint: ``policy``, ``learner`` (records), ``n``, ``m``, ``problem_key``, ...

    Raises:
        ValueError: if there is no such file or it is not a policy checkpoint.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no policy checkpoint at {path}; write one with save_policy")
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path} is not a policy checkpoint: it does not load with weights_only=True; pass a file "
            f"written by save_policy"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a torch file but not a policy checkpoint; pass one written by save_policy"
        )
    if content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} has schema {content.get('schema')}, this version reads {SCHEMA}; "
            f"use the version of centralpath that wrote it ({content.get('centralpath')})"
        )
    return content


def _content(learned: Trained | Learned, k: int) -> dict[str, Any]:
    fits = (learned,) if isinstance(learned, Trained) else learned.fits
    deployment = Deployment() if isinstance(learned, Trained) else learned.deployments[k]
    last, problem = fits[-1], learned.problem
    used = [fit.policy(k).state_dict() for fit in fits[: deployment.fits]]
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "centralpath": version("centralpath"),
        "policy": to_record(last.config.policy),
        "learner": to_record(last.config),
        "problem": problem.name,
        "problem_key": problem.key,
        "problem_record": json.dumps(problem.record(), sort_keys=True),
        "n": problem.n,
        "m": problem.m,
        "dtype": last.config.dtype,
        "deployment": to_record(deployment),
        "fits": [{name: value.clone() for name, value in tensors.items()} for tensors in used],
    }


def _publish(temporary: Path, path: Path, overwrite: bool) -> None:
    """Give the complete file its name; without ``overwrite`` exactly one of several writers succeeds."""
    if overwrite:
        os.replace(temporary, path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError as error:
            raise ValueError(f"path {path} exists; pass another one or overwrite=True") from error
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
