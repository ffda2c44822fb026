#!/bin/sh
# Installs into a virtual environment: install.sh FOLDER WHAT...
# The versions are those of constraints.txt, or of another such file that CONSTRAINTS names.
# uv is tens of times as quick as pip. Where pip alone is configured for a mirror, or uv fails, pip does it.
set -eu

python="$1/bin/python"
shift

# These two hold for the tools that the package is built with: one for pip up to 25, one for later ones.
constraints=${CONSTRAINTS:-constraints.txt}
export PIP_CONSTRAINT="$constraints" PIP_BUILD_CONSTRAINT="$constraints"
export PIP_DISABLE_PIP_VERSION_CHECK=1

has_mirror() {
    "$python" -m pip config list | grep -q '\.index-url='
}

with_uv() {
    "$python" -m pip install --quiet uv &&
        "$python" -m uv pip install --python "$python" --quiet --compile-bytecode \
            --constraints "$constraints" --build-constraints "$constraints" "$@"
}

with_pip() {
    "$python" -m pip install --quiet --constraint "$constraints" "$@"
}

echo "Installing into ${python%/bin/python}: some 160 packages."
if has_mirror; then
    with_pip "$@"
else
    with_uv "$@" || with_pip "$@"
fi
