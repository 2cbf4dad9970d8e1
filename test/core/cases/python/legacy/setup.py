from setuptools import setup

setup(name="legacy", version="0.9", install_requires=open("requirements.in").read().split(), py_modules=["legacy"])
