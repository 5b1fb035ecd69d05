#!/bin/sh
# usage: [NM=...] no_weak_symbols.sh OBJECT...   (the objects of the files that are compiled for one instruction set)
#
# An inline function that is compiled in such a file is a weak symbol. The linker may keep that copy for the whole
# program, which then dies with SIGILL on an older CPU. So these objects must hold none. Only a build without
# optimisation shows it: otherwise the call is inlined and the symbol is gone. Weak data (V) is harmless.
[ $# -gt 0 ] || { echo "no objects given: nothing was checked" >&2; exit 1; }
status=0
for object in "$@"; do
  symbols=$("${NM:-nm}" -C "$object") || exit 1
  weak=$(printf '%s\n' "$symbols" | grep -E '^[0-9a-f]+ W ')
  [ -z "$weak" ] || { printf '%s holds weak functions:\n%s\n' "$object" "$weak" >&2; status=1; }
done
exit "$status"
