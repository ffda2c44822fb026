#!/bin/sh
# Installs packages into a virtual environment: install.sh FOLDER ARGUMENT...
# The arguments are those of `pip install`: requirements, -e PATH, --group NAME.
# CONSTRAINTS names the file that fixes the versions (default: constraints.txt).
# uv does the work, because it is many times faster than pip. pip does it where uv fails, and where pip is configured
# with an index of its own, because uv does not read pip's configuration.
set -eu

python="$1/bin/python"
shift

# Build backends need constraints of their own: pip up to 25 reads the first variable for them, later ones the second.
constraints=${CONSTRAINTS:-constraints.txt}
export PIP_CONSTRAINT="$constraints" PIP_BUILD_CONSTRAINT="$constraints"
export PIP_DISABLE_PIP_VERSION_CHECK=1

has_own_index() {
    "$python" -m pip config list | grep -q '\.index-url='
}

with_uv() {
    "$python" -m pip install --quiet uv &&
        "$python" -m uv pip install --python "$python" --quiet --compile-bytecode \
            --constraints "$constraints" --build-constraints "$constraints" "$@"
}

with_pip() {
    # The option --group came with pip 25.1; the venv module of Python 3.11 and 3.12 brings an older one.
    "$python" -m pip install --help | grep -e '--group' >/dev/null ||
         "$python" -m pip install --quiet 'pip>=25.1'
    "$python" -m pip install --quiet --constraint "$constraints" "$@"
}

echo "Installing packages into ${python%/bin/python}. This can take a few minutes."
if has_own_index; then
    with_pip "$@"
else
    with_uv "$@" || with_pip "$@"
fi
