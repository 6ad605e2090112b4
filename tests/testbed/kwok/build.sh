#!/usr/bin/env bash
# Builds kwok into the directory given as the only argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
CGO_ENABLED=0 go build -v -trimpath -buildvcs=false -ldflags "-s -w" -o "$1/kwok" sigs.k8s.io/kwok/cmd/kwok
