"""A student is a transformer of another kind: run as a teacher it would paint, and not what it was trained for."""

from __future__ import annotations

import pytest

from lipforcing_core.runtime.bundle import Bundle
from lipforcing_core.streaming.generators import TeacherGenerator


def test_a_student_is_not_run_as_a_teacher(student: Bundle, teacher: Bundle) -> None:
    assert TeacherGenerator(teacher).model_id == teacher.model_id
    with pytest.raises(TypeError, match="needs a teacher bundle"):
        TeacherGenerator(student)
