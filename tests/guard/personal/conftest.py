import pytest

from guardedvlm.guard.detect.personal import PersonalData


@pytest.fixture(scope="session")
def personal_data() -> PersonalData:
    """The real detector, loaded once: the model takes some seconds."""
    return PersonalData()
