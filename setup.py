"""What pyproject.toml cannot say: every module at the root belongs to the distribution."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
setup(py_modules=sorted(file.stem for file in HERE.glob("*.py") if file.stem != "setup"))
