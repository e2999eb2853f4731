"""What fails while others' data is read is one message; what fails elsewhere keeps its traceback."""

import pytest

from al_loop.errors import InputError
from al_loop.utils.foreign_input import each_read, reading
from committee.errors import CheckpointError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "permission denied"),
        (KeyError("cell"), "it lacks 'cell'"),
        (OverflowError("int too big to convert"), "OverflowError: int too big to convert"),
        (ValueError("of two\n  lines"), "ValueError: of two lines"),
        (AssertionError(), "(AssertionError)"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (MemoryError(), "more memory than is available"),
        (b"\xff".decode, "its text is not UTF-8"),
    ],
)
def test_any_failure_is_one_line_with_place_and_remedy(error, words):
    with pytest.raises(InputError) as raised, reading("a.xyz, frame 3", "write it again"):
        if callable(error):
            error("utf-8")
        raise error
    message = str(raised.value)
    assert message.startswith("a.xyz, frame 3 cannot be read (")
    assert message.endswith("; write it again")
    assert words in message
    assert "\n" not in message
    assert raised.value.__cause__ is not None


def test_long_reasons_are_shortened():
    with pytest.raises(InputError) as raised, reading("a.xyz", "write it again"):
        raise ValueError("x" * 10_000)
    assert len(str(raised.value)) < 400


def test_errors_on_purpose_and_interrupts_pass():
    with pytest.raises(CheckpointError, match=r"^said already$"), reading("a", "b"):
        raise CheckpointError("said already")
    with pytest.raises(KeyboardInterrupt), reading("a", "b"):
        raise KeyboardInterrupt


def test_the_reader_is_within_and_its_user_is_not():
    def frames():
        yield 0
        yield 1
        raise IndexError("cut")

    read = each_read(frames(), lambda number: f"a.xyz, frame {number}", "write it again")
    assert [next(read), next(read)] == [0, 1]
    with pytest.raises(InputError, match=r"^a.xyz, frame 2 cannot be read \(IndexError: cut\); write it again$"):
        next(read)
    with pytest.raises(ZeroDivisionError):
        for _ in each_read(frames(), str, "b"):
            raise ZeroDivisionError
