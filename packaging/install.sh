#!/bin/sh
# install.sh [PREFIX]: copies ckpt, as unpacked from its archive, to PREFIX: ~/.local by default, /usr/local for root. Needs no privilege.
set -eu
from=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" = 0 ]; then prefix=${1:-/usr/local}; else prefix=${1:-$HOME/.local}; fi
case $prefix in
-*) echo "usage: install.sh [PREFIX]" >&2; exit 64 ;;
/*) ;;
*) prefix=$PWD/$prefix ;;
esac
mkdir -p "$prefix"
# A file at a time, each under a new inode: programs that run with the old library keep it.
(cd "$from" && find bin lib include share -type f) | while read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    cp "$from/$file" "$prefix/$file.new.$$"
    if [ "$file" = lib/pkgconfig/ckpt.pc ]; then
        sed -e "s|^prefix=.*|prefix=$prefix|; s|^libdir=.*|libdir=$prefix/lib|" "$from/$file" >"$prefix/$file.new.$$"
    fi
    mv "$prefix/$file.new.$$" "$prefix/$file"
done
echo "installed in $prefix"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) echo "not on the search path yet: export PATH=$prefix/bin:\$PATH" ;;
esac
