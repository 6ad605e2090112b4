#!/usr/bin/env bash
# Builds the orchestrator into the directory given as the only argument.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
CGO_ENABLED=0 go build -v -trimpath -buildvcs=false -o "$1/bed" .
