import pytest

from bench import guard

OURS: dict[str, str | None] = dict.fromkeys(guard.PACKAGES, "centralpath")


def test_this_installation_is_ours():
    guard.check_names()


def test_nothing_to_complain_about_when_installed_or_run_from_the_folder():
    assert guard.conflicts(OURS, {name: ["centralpath", "centralpath"] for name in guard.PACKAGES}) == []
    assert guard.conflicts(OURS, {}) == []


def test_another_owner_of_an_import_name_is_named():
    (found,) = guard.conflicts(OURS, {"imitation": ["imitation", "centralpath"]})
    assert found == "the import name 'imitation' is also owned by the distribution imitation"


def test_a_package_without_the_marker_is_named():
    (found,) = guard.conflicts({**OURS, "mpc": None}, {})
    assert found == "the package 'mpc' that Python finds is not the one of centralpath"


def test_the_error_holds_the_remedy(monkeypatch):
    monkeypatch.setattr("importlib.metadata.packages_distributions", lambda: {"envs": ["envs"]})
    with pytest.raises(
        ValueError, match=r"distribution envs; install centralpath in an environment of its own"
    ):
        guard.check_names()
