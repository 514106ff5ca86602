"""The wheel: the Python interface, and with CKPT_BUILD=FOLDER the programs that `make` built.

ckpt and myrestart become programs of the environment that the wheel is installed in, and libckpt.so stands in its lib folder, where ckpt
looks for it. They need no libc of any version, so one wheel fits every x86-64 Linux and every Python 3.
"""

import os

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

build = os.environ.get("CKPT_BUILD")


class Wheel(bdist_wheel):
    """Tags a wheel that has programs in it for the platform, and for any Python."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = build is None

    def get_tag(self):
        if build is None:
            return super().get_tag()
        return "py3", "none", "manylinux2014_x86_64.musllinux_1_1_x86_64"


files = []
if build is not None:
    programs = [os.path.join(build, name) for name in ("ckpt", "myrestart")]
    files = [("bin", programs), ("lib", [os.path.join(build, "libckpt.so")])]

setup(data_files=files, cmdclass={"bdist_wheel": Wheel})
