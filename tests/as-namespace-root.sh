#!/bin/sh
# Runs a test binary so that it may create network namespaces: as it is for root, in a user namespace for others.
if [ "$(id -u)" = 0 ] || ! unshare --user --map-root-user true 2>/dev/null; then
    exec "$@"
fi
exec unshare --user --map-root-user "$@"
