"""Property tests find faults, they do not time anything: no deadline for an example on a busy machine."""

from hypothesis import settings

settings.register_profile("mssante", deadline=None)
settings.load_profile("mssante")
