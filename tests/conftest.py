"""Shared by all pytest folders."""

import pytest

# Its asserts are those of the tests that inherit them.
pytest.register_assert_rewrite("first_manifests")


def pytest_configure(config):
    config.addinivalue_line("markers", "about(*objects): which objects of tests/manifests/first the test is about")
