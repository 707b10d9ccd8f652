"""What the service is told about this library: the vendor's SDK name and the level of behaviour that we are compatible with."""

from typing import ClassVar


class SdkVersion:
    """
    Name and compatible level, sent as ``sdkName`` and ``sdkVersion`` and seen by ``SDK_LANGUAGE`` conditions.

    Our own version is ``kameleoon.__version__``.
    """

    NAME: ClassVar[str] = "PYTHON"
    VERSION: ClassVar[str] = "3.22.2"
    version_info: ClassVar[tuple[int, ...]] = (3, 22, 2)
