"""Records: frozen dataclasses whose methods and fields are not made for each class at import."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import json
import pickle
import subprocess
import sys
from typing import Any

import orjson
import pytest

from okta_tokens._runtime.record import Record
from tests.frames import shown_in_frames

SECRET = "Canary-Secret-4f9b2c7d8e1a6f3b5c0d"


class Base(Record):
    """A record with one field."""

    name: str


class Sized(Base):
    """A record with two more fields, of which one has a default, and a check."""

    size: float
    unit: str = "B"

    def _error(self) -> ValueError | None:
        return ValueError("size must be positive") if self.size <= 0 else None


RECORD = Sized(name="a", size=2)


def test_a_record_is_a_dataclass() -> None:
    """Everything that reads dataclasses reads a record: its fields, those of its bases first."""
    assert dataclasses.is_dataclass(RECORD)
    assert [field.name for field in dataclasses.fields(Sized)] == ["name", "size", "unit"]
    assert dataclasses.asdict(RECORD) == {"name": "a", "size": 2, "unit": "B"}
    assert dataclasses.replace(RECORD, size=3) == Sized(name="a", size=3)
    assert json.loads(orjson.dumps(RECORD)) == dataclasses.asdict(RECORD)


def test_each_class_has_its_own_fields() -> None:
    """Whichever class is asked first, no class has the fields of its subclass."""

    class Parent(Record):
        first: int

    class Child(Parent):
        second: int

    assert [field.name for field in dataclasses.fields(Child)] == ["first", "second"]
    assert [field.name for field in dataclasses.fields(Parent)] == ["first"]
    assert Parent(first=1) == Parent(first=1)


def test_a_copied_record_is_complete() -> None:
    """A record that no constructor made equals the original, as after unpickling."""
    for twin in (copy.copy(RECORD), copy.deepcopy(RECORD), pickle.loads(pickle.dumps(RECORD))):  # noqa: S301 - our own bytes
        assert twin == RECORD
        assert hash(twin) == hash(RECORD)


def test_a_record_is_replaced_and_refuses_changes_before_its_fields_are_read() -> None:
    """A record that no constructor made can be replaced, but not changed."""

    class Unused(Record):
        size: int

    unused = Unused.__new__(Unused)
    vars(unused)["size"] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        unused.size = 2  # type: ignore[misc]  # deliberately
    with pytest.raises(dataclasses.FrozenInstanceError):
        del unused.size

    assert unused.__replace__(size=2) == Unused(size=2)


def test_the_signature_has_the_defaults() -> None:
    """`inspect` and `help` show the fields as keyword arguments, with their defaults."""
    assert str(inspect.signature(Sized)) == "(*, name: 'str', size: 'float', unit: 'str' = 'B')"


def test_defaults_are_in_the_repr() -> None:
    """The repr names every field in its order, also fields that were not passed."""
    assert repr(Sized(size=2, name="a")) == "Sized(name='a', size=2, unit='B')"


@pytest.mark.parametrize("values", [{}, {"name": "a", "other": SECRET}, {"size": SECRET}])
def test_a_record_takes_exactly_its_fields(values: dict[str, Any]) -> None:
    """A missing or an unknown field is a `TypeError`, whose frames hold no value."""
    with pytest.raises(TypeError, match=r"^Sized takes exactly these keyword arguments") as caught:
        Sized(**values)

    assert shown_in_frames(caught.value, SECRET) == []


def test_an_invalid_value_is_refused() -> None:
    """The constructor raises the error of the class's check; no frame holds a value."""
    with pytest.raises(ValueError, match=r"^size must be positive$") as caught:
        Sized(name=SECRET, size=0)

    assert shown_in_frames(caught.value, SECRET) == []


def test_an_import_makes_no_class_a_dataclass() -> None:
    """An import of the package processes the fields of no record class."""
    program = """if True:
        import okta_tokens
        from okta_tokens._runtime.record import Record

        classes = Record.__subclasses__()
        for kind in classes:
            classes += kind.__subclasses__()
        print(len(classes), *(kind for kind in classes if "__dataclass_params__" in vars(kind)))
    """
    run = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    number, *processed = run.stdout.split()

    assert int(number) > len(processed) == 0
